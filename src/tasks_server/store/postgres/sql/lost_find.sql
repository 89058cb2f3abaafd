-- Running tasks by their leases (task, lease, until), those whose lease is as it was seen, with all that their settlement
-- needs. They stay locked; those that another has in hand are passed over.
SELECT
    t.seq, t.lease, r.id, t.lane, t.attempt, t.due_at, t.execution_at, t.failures, t.repeats, t.status_code, t.error,
    t.remaining_ms, t.expire_at
FROM (
    SELECT t.* FROM jsonb_array_elements(%(rows)s::jsonb) AS l JOIN task AS t ON t.seq = (l ->> 0)::bigint
    WHERE t.lease = (l ->> 1)::bigint AND t.lease_until = (l ->> 2)::bigint
    FOR NO KEY UPDATE OF t SKIP LOCKED
) AS t JOIN request AS r ON r.task = t.seq
