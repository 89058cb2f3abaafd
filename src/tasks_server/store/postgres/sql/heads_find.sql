-- Of known groups (owner, lane, urgency, target, and a due_at and seq before which there is none) those that still have
-- available tasks, with the first; whether the lane has limits; whether it is paused, or its owner
-- suspended.
SELECT
    (g ->> 0)::integer, (g ->> 1)::integer, (g ->> 2)::smallint, g ->> 3, t.due_at, t.seq,
    coalesce(l.concurrent_max IS NOT NULL OR l.rate IS NOT NULL, false), coalesce(l.paused_at IS NOT NULL, false)
        OR (EXISTS (SELECT FROM owner WHERE suspended_at > 0)
            AND (SELECT suspended_at FROM owner WHERE seq = (g ->> 0)::integer) IS NOT NULL)
FROM jsonb_array_elements(%(groups)s::jsonb) AS g CROSS JOIN LATERAL (
    SELECT due_at, seq FROM task
    WHERE state = 'available' AND owner = (g ->> 0)::integer AND lane = (g ->> 1)::integer
        AND urgency = (g ->> 2)::smallint AND target = g ->> 3
        AND (due_at, seq) >= ((g ->> 4)::bigint, (g ->> 5)::bigint)
    ORDER BY due_at, seq LIMIT 1
) AS t LEFT JOIN lane AS l ON l.seq = (g ->> 1)::integer
