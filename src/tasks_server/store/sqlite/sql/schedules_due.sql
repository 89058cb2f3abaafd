-- Schedules whose turn comes by :horizon, those first that wait longest.
SELECT s.seq, s.owner, o.id, s.facts, s.template
FROM schedule AS s INDEXED BY schedule_look
CROSS JOIN owner AS o ON o.seq = s.owner
WHERE s.look_at <= :horizon
ORDER BY s.look_at LIMIT :count_max
