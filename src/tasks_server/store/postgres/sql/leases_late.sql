-- Leases in sight whose node (in their upper bits) is gone: one of `gone`, or, when nothing is known of before, none of
-- `alive`; and those of others that were given until before `low` or after `high`. Whether the node is there.
SELECT seq, lease, lease_until, stays
FROM (
    SELECT
        seq, lease, lease_until,
        NOT ((lease >> 32) = ANY(%(gone)s::bigint[]) OR (%(all)s AND (lease >> 32) <> ALL(%(alive)s::bigint[]))) AS stays
    FROM task
    WHERE state = 'running' AND lease_until >= %(floor)s AND lease_until < %(until)s
) AS l
WHERE NOT stays OR lease_until < %(low)s OR lease_until > %(high)s
ORDER BY lease_until LIMIT %(count_max)s
