-- Schedules whose turn comes by :horizon, those first that wait longest; whether their owner is suspended.
SELECT s.seq, s.owner, o.id, s.facts, s.template, o.suspended_at IS NOT NULL
FROM schedule AS s INDEXED BY schedule_look
CROSS JOIN owner AS o ON o.seq = s.owner
WHERE s.look_at <= :horizon
ORDER BY s.look_at LIMIT :count_max
