-- Heartbeats are told in the database's time, so that is what they are compared with. One from far ahead was told before
-- the clock was set back.
SELECT
    number, host, pid, role, version, started_at, seen_at,
    abs(seen_at - extract(epoch FROM clock_timestamp()) * 1000) < %(alive_ms)s
FROM node
ORDER BY number
