-- These tasks, with the schedules that made them.
SELECT
    r.id, o.id, l.name, t.state, t.priority, r.created_at, t.due_at, t.execution_at, t.ended_at, t.attempt,
    t.failures, t.repeats, t.status_code, t.error, t.remaining_ms, t.expire_at, t.target, t.urgency < 0, r.metadata,
    t.seq, t.lane, f.schedule
FROM jsonb_array_elements_text(%(seqs)s::jsonb) AS s
JOIN task AS t ON t.seq = s::bigint
JOIN request AS r ON r.task = t.seq
JOIN owner AS o ON o.seq = t.owner
JOIN lane AS l ON l.seq = t.lane
LEFT JOIN schedule_run AS f ON f.task = t.seq
