-- Running tasks whose lease is over, or whose node (in the lease's upper bits) is gone: one of `gone`, or, when nothing
-- is known of before, none of `alive`. They stay locked; those that another has in hand are passed over.
SELECT
    t.seq, t.lease, r.id, t.lane, t.attempt, t.due_at, t.execution_at, t.failures, t.repeats, t.status_code, t.error,
    t.expire_at
FROM (
    SELECT * FROM task
    WHERE state = 'running' AND lease_until >= %(floor)s AND lease_until < %(until)s
        AND (
            lease_until < %(now)s OR (lease >> 32) = ANY(%(gone)s::bigint[])
            OR (%(all)s AND (lease >> 32) <> ALL(%(alive)s::bigint[]))
        )
    ORDER BY lease_until LIMIT %(count_max)s
    FOR NO KEY UPDATE SKIP LOCKED
) AS t JOIN request AS r ON r.task = t.seq
