-- Tasks that may not start any more. Running ones are settled by whoever runs them.
SELECT json_group_array(id) FROM (
    SELECT id FROM task INDEXED BY task_expiring
    WHERE expire_at IS NOT NULL AND state IN ('scheduled', 'available', 'retryable', 'paused') AND expire_at <= :now
    ORDER BY expire_at LIMIT :count_max
)
