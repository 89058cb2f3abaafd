-- Attempts that ended before :before, but for the last one of each task.
DELETE FROM attempt
WHERE (task, number) IN (
    SELECT a.task, a.number
    FROM owner AS o
    CROSS JOIN attempt AS a INDEXED BY attempt_ended ON a.owner = o.seq AND a.ended_at < :before
    CROSS JOIN task AS t ON t.seq = a.task
    WHERE a.number < t.attempt
    LIMIT :count_max
)
