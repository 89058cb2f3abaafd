-- Waiting tasks in the order in which they are due, those after an instant and, of that instant, after a handle.
SELECT json_group_array(json_array(seq, due_at, remaining_ms, attempt))
FROM (
    SELECT seq, due_at, remaining_ms, attempt FROM task INDEXED BY task_waiting
    WHERE state IN ('scheduled', 'retryable') AND due_at >= :due_at AND (due_at > :due_at OR seq > :seq)
    ORDER BY due_at, seq LIMIT :count_max
)
