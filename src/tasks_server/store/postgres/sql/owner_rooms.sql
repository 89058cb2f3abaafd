-- Of each owner: its limit, and how many tasks it has in queue. A statement of its own after the lock: what others
-- committed before they let go of the lock is seen.
SELECT
    o.seq, o.tasks_in_queue_max, (
        coalesce((
            SELECT sum(c.n) FROM counter AS c
            WHERE c.owner = o.seq AND c.state NOT IN ('completed', 'failed', 'revoked')
        ), 0) + coalesce((
            SELECT sum(c.n) FROM counter_change AS c
            WHERE c.owner = o.seq AND c.seq > %(folded)s AND c.state NOT IN ('completed', 'failed', 'revoked')
        ), 0)
    )::bigint
FROM owner AS o
WHERE o.seq IN (SELECT jsonb_array_elements_text(%(owners)s::jsonb)::integer) AND o.deleted_at IS NULL
