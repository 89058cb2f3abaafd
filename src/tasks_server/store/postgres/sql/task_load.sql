-- One task by its id, with the names of its owner and lane, its spec and, if wanted, the response of its last attempt.
SELECT
    r.id, o.id, l.name, t.state, t.priority, r.created_at, t.due_at, t.execution_at, t.ended_at, t.attempt,
    t.failures, t.repeats, t.status_code, t.error, t.remaining_ms, t.expire_at, t.target, t.urgency < 0, r.metadata,
    t.seq, r.spec, t.owner, t.lane, a.number, CASE WHEN %(response)s THEN a.response END, a.outcome, f.schedule, coalesce(f.fire_at, 0),
    t.lease, CASE WHEN %(response)s THEN a.facts END, c.source
FROM request AS r
JOIN task AS t ON t.seq = r.task
JOIN owner AS o ON o.seq = t.owner
JOIN lane AS l ON l.seq = t.lane
LEFT JOIN schedule_run AS f ON f.task = t.seq
LEFT JOIN callback AS c ON c.task = t.seq
LEFT JOIN LATERAL (
    SELECT number, response, outcome, facts FROM attempt WHERE task = t.seq ORDER BY number DESC LIMIT 1
) AS a ON true
WHERE r.id = %(id)s AND (%(owner)s::text IS NULL OR o.id = %(owner)s)
