SELECT
    o.id, o.name, o.created_at, o.tasks_in_queue_max, (
        coalesce((
            SELECT sum(c.n) FROM counter AS c
            WHERE c.owner = o.seq AND c.state NOT IN ('completed', 'failed', 'revoked')
        ), 0) + coalesce((
            SELECT sum(c.n) FROM counter_change AS c
            WHERE c.owner = o.seq AND c.state NOT IN ('completed', 'failed', 'revoked')
        ), 0)
    )::bigint, o.seq, o.retention_ms, o.suspended_at, o.requests_max
FROM owner AS o WHERE o.name > %(after)s AND o.name < %(until)s ORDER BY o.name LIMIT %(count_max)s
