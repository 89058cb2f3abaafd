SELECT id, name, created_at, tasks_in_queue_max, tasks_in_queue, seq, retention_ms,
    suspended_at, requests_max
FROM owner WHERE name = :name AND deleted_at IS NULL
