-- The tasks :seqs, with the schedules that made them.
SELECT json_group_array(json_array(
    t.id, o.id, l.name, t.state, t.priority, t.created_at, t.due_at, t.execution_at, t.ended_at, t.attempt,
    t.failures, t.repeats, t.status_code, t.error, t.remaining_ms, t.expire_at, t.target, t.urgency < 0, t.metadata,
    t.seq, t.lane, f.schedule
))
FROM json_each(:seqs) AS s
CROSS JOIN task AS t ON t.seq = s.value
CROSS JOIN owner AS o ON o.seq = t.owner
CROSS JOIN lane AS l ON l.seq = t.lane
LEFT JOIN schedule_run AS f ON f.task = t.seq
