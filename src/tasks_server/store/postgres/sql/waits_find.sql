-- Holds waiting tasks in the order in which they are due, those after an instant and, of that instant, after a handle.
-- Those that another has in hand are passed over.
SELECT seq, due_at, remaining_ms, attempt FROM task
WHERE state IN ('scheduled', 'retryable') AND (due_at, seq) > (%(due_at)s::bigint, %(seq)s::bigint)
ORDER BY due_at, seq LIMIT %(count_max)s
FOR NO KEY UPDATE SKIP LOCKED
