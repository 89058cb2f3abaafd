-- How many go before a task in its lane: more urgent ones; of its urgency and target, those due earlier, and those due
-- at the same instant that came before it. In three, because each is a range of the index.
SELECT
    (
        SELECT count(*) FROM (
            SELECT 1 FROM task INDEXED BY task_available
            WHERE state = 'available' AND owner = :owner AND lane = :lane AND urgency < :urgency LIMIT :count_max
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
