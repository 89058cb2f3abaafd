UPDATE owner
SET tasks_in_queue_max = :tasks_in_queue_max, retention_ms = :retention_ms, suspended_at = :suspended_at,
    requests_max = :requests_max
WHERE seq = :seq
