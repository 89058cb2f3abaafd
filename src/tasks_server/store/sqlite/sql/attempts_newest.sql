SELECT a.number, a.due_at, a.started_at, a.ended_at, a.outcome, a.status_code, a.error, a.facts
FROM task AS t
CROSS JOIN owner AS o ON o.seq = t.owner
CROSS JOIN attempt AS a ON a.task = t.seq
WHERE t.id = :id AND (:owner IS NULL OR o.id = :owner)
ORDER BY a.number DESC
LIMIT :limit
