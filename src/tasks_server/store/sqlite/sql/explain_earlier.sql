-- How many tasks of its lane, urgency and target were due before a task, or at the same instant and came before it. In
-- two, because each is a range of the index.
SELECT (
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
