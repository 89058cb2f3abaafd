-- The work that waits longest for its turn, with its handles and how far it has come.
SELECT
    b.id, o.id, b.action, b.filter, b.asked_by, b.created_at, b.started_at, b.updated_at, b.ended_at, b.cancelled,
    b.total, b.seen, b.changed, b.skipped, b.waits, b.error, b.failures,
    b.seq, b.owner, b.until_task, b.after_task
FROM bulk AS b INDEXED BY bulk_open
CROSS JOIN owner AS o ON o.seq = b.owner
WHERE b.ended_at = 0 AND b.look_at <= :now
ORDER BY b.look_at LIMIT 1
