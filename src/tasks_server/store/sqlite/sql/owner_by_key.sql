-- The owner of a key, and the key.
SELECT
    o.id, o.name, o.created_at, o.tasks_in_queue_max, o.tasks_in_queue, o.seq, o.retention_ms, o.suspended_at,
    o.requests_max, k.id, k.created_at, k.used_at
FROM owner_key AS k CROSS JOIN owner AS o ON o.seq = k.owner
WHERE k.digest = :digest AND o.deleted_at IS NULL
