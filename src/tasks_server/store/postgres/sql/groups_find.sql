-- Which groups have available tasks, and which is the first of each. Each step seeks to the head of the next
-- line or group in the index, so that the cost is that of the groups found, however many tasks stand behind each head.
-- Of a paused lane, only the line, and of an owner that is suspended, only its first line. Where to go on in lanes with
-- limits, is said apart. Whether the lane has limits; whether it is paused; how many lines were looked at; whether the
-- owner is suspended; owners are looked up only while one is.
WITH RECURSIVE held AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM owner WHERE suspended_at > 0) AS any
), line AS (
    (
        SELECT owner, lane, 1 AS n FROM task
        WHERE state = 'available' AND (owner, lane) > (%(owner)s, %(lane)s) ORDER BY owner, lane LIMIT 1
    )
    UNION ALL
    SELECT x.owner, x.lane, a.n + 1 FROM line AS a CROSS JOIN LATERAL (
        SELECT t.owner, t.lane FROM task AS t
        WHERE t.state = 'available' AND (t.owner, t.lane) > (
            a.owner, CASE WHEN (SELECT h.any FROM held AS h)
                AND (SELECT o.suspended_at FROM owner AS o WHERE o.seq = a.owner) IS NOT NULL THEN 2147483647 ELSE a.lane END
        ) ORDER BY t.owner, t.lane LIMIT 1
    ) AS x
    WHERE a.n < %(lines_max)s
), known AS MATERIALIZED (
    SELECT
        l.owner, l.lane, coalesce(k.concurrent_max IS NOT NULL OR k.rate IS NOT NULL, false) AS limited,
        coalesce(k.paused_at IS NOT NULL, false) AS paused, 
        (SELECT h.any FROM held AS h)
            AND (SELECT o.suspended_at FROM owner AS o WHERE o.seq = l.owner) IS NOT NULL AS suspended,
        CASE WHEN k.concurrent_max IS NULL AND k.rate IS NULL THEN %(urgency)s ELSE %(limited_urgency)s END::smallint
            AS urgency,
        CASE WHEN k.concurrent_max IS NULL AND k.rate IS NULL THEN %(target)s ELSE %(limited_target)s END AS target
    FROM line AS l LEFT JOIN lane AS k ON k.seq = l.lane
), head AS (
    SELECT l.owner, l.lane, l.limited, x.urgency, x.target, x.due_at, x.seq, 1 AS n
    FROM known AS l CROSS JOIN LATERAL (
        (
            SELECT 0 AS choice, t.urgency, t.target, t.due_at, t.seq FROM task AS t
            WHERE t.state = 'available' AND t.owner = l.owner AND t.lane = l.lane
                AND (t.urgency, t.target) > (l.urgency, l.target)
            ORDER BY t.urgency, t.target, t.due_at, t.seq LIMIT 1
        )
        UNION ALL (
            SELECT 1, t.urgency, t.target, t.due_at, t.seq FROM task AS t
            WHERE t.state = 'available' AND t.owner = l.owner AND t.lane = l.lane
            ORDER BY t.urgency, t.target, t.due_at, t.seq LIMIT 1
        )
        ORDER BY choice LIMIT 1
    ) AS x
    WHERE NOT l.paused AND NOT l.suspended
    UNION ALL
    SELECT h.owner, h.lane, h.limited, x.urgency, x.target, x.due_at, x.seq, h.n + 1 FROM head AS h CROSS JOIN LATERAL (
        SELECT t.urgency, t.target, t.due_at, t.seq FROM task AS t
        WHERE t.state = 'available' AND t.owner = h.owner AND t.lane = h.lane
            AND (t.urgency, t.target) > (h.urgency, h.target)
        ORDER BY t.urgency, t.target, t.due_at, t.seq LIMIT 1
    ) AS x
    WHERE h.n < %(groups_max)s
)
SELECT owner, lane, urgency, target, due_at, seq, limited, false, (SELECT count(*) FROM line), false FROM head
UNION ALL
SELECT owner, lane, NULL, NULL, NULL, NULL, limited, true, (SELECT count(*) FROM line), suspended FROM known WHERE paused OR suspended
