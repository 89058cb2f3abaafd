-- The owner of a key, and the key.
SELECT
    o.id, o.name, o.created_at, o.tasks_in_queue_max, (
        coalesce((
            SELECT sum(c.n) FROM counter AS c
            WHERE c.owner = o.seq AND c.state NOT IN ('completed', 'failed', 'revoked')
        ), 0) + coalesce((
            SELECT sum(c.n) FROM counter_change AS c
            WHERE c.owner = o.seq AND c.state NOT IN ('completed', 'failed', 'revoked')
        ), 0)
    )::bigint, o.seq, o.retention_ms, o.suspended_at, o.requests_max, k.id, k.created_at, k.used_at
FROM owner_key AS k JOIN owner AS o ON o.seq = k.owner
WHERE k.digest = %(digest)s AND o.deleted_at IS NULL
