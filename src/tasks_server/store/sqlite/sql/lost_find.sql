-- Running tasks whose lease is over, or whose node is not among :alive. The node is in the lease's upper bits.
SELECT json_group_array(json_array(
    seq, lease, id, lane, attempt, due_at, execution_at, failures, repeats, status_code, error, expire_at
))
FROM (
    SELECT * FROM task INDEXED BY task_running
    WHERE state = 'running' AND (lease_until < :now OR (lease >> 32) NOT IN (SELECT value FROM json_each(:alive)))
    ORDER BY lease_until LIMIT :count_max
)
