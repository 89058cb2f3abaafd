-- How many of its owner's tasks are more urgent than a task, by target: those of its lane (0), and those of other lanes
-- that have no limits (1), walked from head to head. And if its lane has limits, so that its few places go to those who
-- wait longest: those as urgent with other targets that were due before it (2).
WITH RECURSIVE line (lane) AS (
    SELECT (
        SELECT lane FROM task INDEXED BY task_available
        WHERE state = 'available' AND owner = :owner ORDER BY lane LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT t.lane FROM task AS t INDEXED BY task_available
        WHERE t.state = 'available' AND t.owner = :owner AND t.lane > line.lane ORDER BY t.lane LIMIT 1
    )
    FROM line WHERE line.lane IS NOT NULL LIMIT :lanes_max
)
SELECT 0, target, count(*) FROM (
    SELECT target FROM task INDEXED BY task_available
    WHERE state = 'available' AND owner = :owner AND lane = :lane AND urgency < :urgency LIMIT :count_max
)
GROUP BY target
UNION ALL
SELECT 1, target, count(*) FROM (
    SELECT t.target FROM line
    CROSS JOIN lane AS l ON l.seq = line.lane
    CROSS JOIN task AS t INDEXED BY task_available ON t.state = 'available' AND t.owner = :owner
        AND t.lane = l.seq AND t.urgency < :urgency
    WHERE l.seq <> :lane AND l.paused_at IS NULL AND l.concurrent_max IS NULL AND l.rate IS NULL LIMIT :count_max
)
GROUP BY target
UNION ALL
SELECT 2, target, count(*) FROM (
    SELECT target, due_at, seq FROM task INDEXED BY task_available
    WHERE state = 'available' AND owner = :owner AND lane = :lane AND urgency = :urgency
    LIMIT CASE
        WHEN (SELECT concurrent_max IS NULL AND rate IS NULL FROM lane WHERE seq = :lane) THEN 0 ELSE :count_max
    END
)
WHERE target <> :target AND (due_at < :due_at OR due_at = :due_at AND seq < :seq)
GROUP BY target
