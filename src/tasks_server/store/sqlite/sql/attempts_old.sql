-- Attempts that are older than their owner wants them kept, with whether they may go; by owner and end, those after one.
-- The last attempt of a task stays.
SELECT o.seq, a.ended_at, a.task, a.number, a.number < t.attempt - (t.state = 'running')
FROM owner AS o
CROSS JOIN attempt AS a INDEXED BY attempt_ended
    ON a.owner = o.seq
    AND a.ended_at >= iif(o.seq = :owner, :ended_at, 0)
    AND a.ended_at < :now - coalesce(o.retention_ms, :retention_ms)
CROSS JOIN task AS t ON t.seq = a.task
WHERE o.seq >= :owner AND (o.seq > :owner OR (a.ended_at, a.task, a.number) > (:ended_at, :task, :number))
ORDER BY o.seq, a.ended_at, a.task, a.number
LIMIT :count_max
