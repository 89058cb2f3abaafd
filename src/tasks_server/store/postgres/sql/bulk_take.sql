-- Holds the work, if its turn has come still and nobody else has it in hand; with how far it has come.
SELECT
    b.id, o.id, b.action, b.filter, b.asked_by, b.created_at, b.started_at, b.updated_at, b.ended_at, b.cancelled,
    b.total, b.seen, b.changed, b.skipped, b.waits, b.error, b.failures,
    b.until_task, b.after_task
FROM bulk AS b
JOIN owner AS o ON o.seq = b.owner
WHERE b.seq = %(seq)s::bigint AND b.ended_at = 0 AND b.look_at <= %(now)s::bigint
FOR UPDATE OF b SKIP LOCKED
