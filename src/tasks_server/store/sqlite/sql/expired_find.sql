-- Tasks that may not start any more. Running ones are settled by whoever runs them.
SELECT json_group_array(id) FROM (
    SELECT id FROM task INDEXED BY task_expiring
    WHERE expire_at IS NOT NULL AND ended_at = 0 AND expire_at <= :now AND state <> 'running'
    ORDER BY expire_at LIMIT :count_max
)
