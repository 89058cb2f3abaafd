-- Schedules whose turn comes by the horizon, those first that wait longest; whether their owner is suspended. Nothing is held yet: owners are held before
-- schedules, by all who hold both.
SELECT s.seq, s.owner, o.id, o.suspended_at IS NOT NULL
FROM (
    SELECT seq, owner, look_at FROM schedule
    WHERE look_at <= %(horizon)s::bigint
    ORDER BY look_at, seq LIMIT %(count_max)s::bigint
) AS s
JOIN owner AS o ON o.seq = s.owner
ORDER BY s.look_at, s.seq
