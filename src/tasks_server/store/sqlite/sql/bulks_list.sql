SELECT
    b.id, o.id, b.action, b.filter, b.asked_by, b.created_at, b.started_at, b.updated_at, b.ended_at, b.cancelled,
    b.total, b.seen, b.changed, b.skipped, b.waits, b.error, b.failures
FROM bulk AS b
CROSS JOIN owner AS o ON o.seq = b.owner
WHERE b.id < :before
ORDER BY b.id DESC LIMIT :count_max
