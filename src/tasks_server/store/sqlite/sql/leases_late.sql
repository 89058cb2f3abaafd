-- The running tasks whose node is not among :alive, and the leases of others that were given until before :low or after
-- :high. The node is in the lease's upper bits.
WITH late AS MATERIALIZED (
    SELECT seq, lease, lease_until, (lease >> 32) NOT IN (SELECT value FROM json_each(:alive)) AS orphaned
    FROM task INDEXED BY task_running
    WHERE state = 'running'
)
SELECT
    (SELECT json_group_array(seq) FROM late WHERE orphaned),
    (
        SELECT json_group_array(json_array(seq, lease, lease_until)) FROM late
        WHERE NOT orphaned AND (lease_until < :low OR lease_until > :high)
    )
