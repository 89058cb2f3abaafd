-- The nodes whose session of heartbeats has ended.
SELECT number FROM node
WHERE backend IS NOT NULL AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = node.backend)
