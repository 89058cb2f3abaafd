-- The tasks :seqs with all that an attempt needs.
SELECT json_group_array(json_array(
    t.seq, t.id, t.owner, t.lane, t.target, t.attempt, t.created_at, t.due_at, t.failures, t.repeats,
    t.status_code, t.error, t.remaining_ms, t.expire_at, hex(r.spec)
))
FROM json_each(:seqs) AS s
CROSS JOIN task AS t ON t.seq = s.value
CROSS JOIN request AS r ON r.task = t.seq
