-- The attempts of one task below a number, newest first.
SELECT
    a.ended_at, a.task, a.number, a.due_at, a.started_at, a.outcome, a.status_code, a.error, t.id, o.id, l.name, t.target,
    f.schedule, f.fire_at, a.facts
FROM task AS t
CROSS JOIN owner AS o ON o.seq = t.owner
CROSS JOIN lane AS l ON l.seq = t.lane
CROSS JOIN attempt AS a ON a.task = t.seq AND a.number < :number
LEFT JOIN schedule_run AS f ON f.task = a.task
WHERE t.id = :task AND (:owner IS NULL OR o.id = :owner)
ORDER BY a.number DESC
LIMIT :count_max
