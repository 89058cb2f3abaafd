-- One task by its id, with the names of its owner and lane, its spec and, if wanted, the response of its last attempt.
SELECT
    t.seq, t.id, o.id, l.name, t.state, t.priority, t.created_at, t.due_at, t.execution_at, t.ended_at, t.attempt,
    t.failures, t.repeats, t.status_code, t.error, t.remaining_ms, t.expire_at, t.target, t.urgency < 0, t.metadata,
    r.spec, a.number, CASE WHEN :response THEN a.response END, t.owner, t.lane, a.outcome, f.schedule, coalesce(f.fire_at, 0),
    t.lease, CASE WHEN :response THEN a.facts END, c.source
FROM task AS t
CROSS JOIN owner AS o ON o.seq = t.owner
CROSS JOIN lane AS l ON l.seq = t.lane
CROSS JOIN request AS r ON r.task = t.seq
LEFT JOIN schedule_run AS f ON f.task = t.seq
LEFT JOIN callback AS c ON c.task = t.seq
LEFT JOIN attempt AS a ON a.task = t.seq
    AND a.number = (SELECT max(number) FROM attempt WHERE attempt.task = t.seq)
WHERE t.id = :id AND (:owner IS NULL OR o.id = :owner)
