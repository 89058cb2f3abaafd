-- Waiting tasks that are due by :horizon, the earliest first, and when the next one after them is due.
SELECT
    (
        SELECT json_group_array(json_array(seq, lane, state))
        FROM (
            SELECT seq, lane, state FROM task INDEXED BY task_waiting
            WHERE state IN ('scheduled', 'retryable') AND due_at <= :horizon
            ORDER BY due_at LIMIT :count_max
        )
    ),
    (
        SELECT min(due_at) FROM task INDEXED BY task_waiting
        WHERE state IN ('scheduled', 'retryable') AND due_at > :horizon
    )
