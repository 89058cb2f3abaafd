-- How many of its owner's tasks are more urgent than a task, by target: those of its lane (0), and those of other lanes
-- that have no limits (1), walked from head to head. And if its lane has limits, so that its few places go to those who
-- wait longest: those as urgent with other targets that were due before it (2).
WITH RECURSIVE line AS (
    (SELECT lane FROM task WHERE state = 'available' AND owner = %(owner)s ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT x.lane FROM line AS a CROSS JOIN LATERAL (
        SELECT t.lane FROM task AS t
        WHERE t.state = 'available' AND t.owner = %(owner)s AND t.lane > a.lane ORDER BY t.lane LIMIT 1
    ) AS x
), others AS (
    SELECT lane FROM line LIMIT %(lanes_max)s
)
SELECT 0, target, count(*) FROM (
    SELECT target FROM task
    WHERE state = 'available' AND owner = %(owner)s AND lane = %(lane)s AND urgency < %(urgency)s::smallint
    ORDER BY urgency LIMIT %(count_max)s
) AS here
GROUP BY target
UNION ALL
SELECT 1, target, count(*) FROM (
    SELECT t.target FROM others AS o JOIN lane AS l ON l.seq = o.lane CROSS JOIN LATERAL (
        SELECT target FROM task
        WHERE state = 'available' AND owner = %(owner)s AND lane = l.seq AND urgency < %(urgency)s::smallint
        ORDER BY urgency LIMIT %(count_max)s
    ) AS t
    WHERE l.seq <> %(lane)s AND l.paused_at IS NULL AND l.concurrent_max IS NULL AND l.rate IS NULL
    LIMIT %(count_max)s
) AS elsewhere
GROUP BY target
UNION ALL
SELECT 2, t.target, count(*) FROM lane AS l CROSS JOIN LATERAL (
    SELECT target, due_at, seq FROM task
    WHERE state = 'available' AND owner = %(owner)s AND lane = l.seq AND urgency = %(urgency)s::smallint
    ORDER BY target LIMIT %(count_max)s
) AS t
WHERE l.seq = %(lane)s AND (l.concurrent_max IS NOT NULL OR l.rate IS NOT NULL)
    AND t.target <> %(target)s AND (t.due_at, t.seq) < (%(due_at)s, %(seq)s)
GROUP BY t.target
