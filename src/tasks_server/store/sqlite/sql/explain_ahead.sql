-- How many of its owner's tasks go before a task: more urgent ones of its lane; more urgent ones of other lanes that are
-- not paused, walked from head to head; of its lane, urgency and target, those due earlier, and those due at the same
-- instant that came before it. Each is a range of the index.
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
SELECT
    (
        SELECT count(*) FROM (
            SELECT 1 FROM task INDEXED BY task_available
            WHERE state = 'available' AND owner = :owner AND lane = :lane AND urgency < :urgency LIMIT :count_max
        )
    ),
    (
        SELECT count(*) FROM (
            SELECT 1 FROM line
            CROSS JOIN lane AS l ON l.seq = line.lane
            CROSS JOIN task AS t INDEXED BY task_available ON t.state = 'available' AND t.owner = :owner
                AND t.lane = l.seq AND t.urgency < :urgency
            WHERE l.seq <> :lane AND l.paused_at IS NULL LIMIT :count_max
        )
    ),
    (
        SELECT count(*) FROM (
            SELECT 1 FROM task INDEXED BY task_available
            WHERE state = 'available' AND owner = :owner AND lane = :lane AND urgency = :urgency AND target = :target
                AND due_at < :due_at LIMIT :count_max
        )
    ) + (
        SELECT count(*) FROM (
            SELECT 1 FROM task INDEXED BY task_available
            WHERE state = 'available' AND owner = :owner AND lane = :lane AND urgency = :urgency AND target = :target
                AND due_at = :due_at AND seq < :seq LIMIT :count_max
        )
    )
