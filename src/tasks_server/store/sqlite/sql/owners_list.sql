SELECT id, name, created_at, tasks_in_queue_max, tasks_in_queue, seq, retention_ms
FROM owner WHERE name > :after ORDER BY name LIMIT :count_max
