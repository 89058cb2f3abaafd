SELECT a.number, a.due_at, a.started_at, a.ended_at, a.outcome, a.status_code, a.error, a.facts
FROM request AS r
JOIN owner AS o ON o.seq = r.owner
JOIN attempt AS a ON a.task = r.task
WHERE r.id = %(id)s AND (%(owner)s::text IS NULL OR o.id = %(owner)s)
ORDER BY a.number DESC
LIMIT %(limit)s
