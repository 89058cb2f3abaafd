SELECT id, name, created_at, tasks_in_queue_max, tasks_in_queue, seq, retention_ms,
    suspended_at, requests_max
FROM owner WHERE name > :after AND name < :until ORDER BY name LIMIT :count_max
