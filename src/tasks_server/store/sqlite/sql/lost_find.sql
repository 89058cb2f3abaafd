-- The running tasks :seqs, with all that their settlement needs.
SELECT json_group_array(json_array(
    t.seq, t.lease, t.id, t.lane, t.attempt, t.due_at, t.execution_at, t.failures, t.repeats, t.status_code, t.error,
    t.remaining_ms, t.expire_at
))
FROM json_each(:seqs) AS s
CROSS JOIN task AS t ON t.seq = s.value
