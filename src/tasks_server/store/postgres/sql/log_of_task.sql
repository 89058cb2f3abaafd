-- The attempts of one task below a number, newest first.
SELECT
    a.ended_at, a.task, a.number, a.due_at, a.started_at, a.outcome, a.status_code, a.error, r.id, o.id, l.name, t.target,
    f.schedule, f.fire_at, a.facts
FROM request AS r
JOIN owner AS o ON o.seq = r.owner
JOIN task AS t ON t.seq = r.task
JOIN lane AS l ON l.seq = t.lane
LEFT JOIN schedule_run AS f ON f.task = r.task
CROSS JOIN LATERAL (
    SELECT ended_at, task, number, due_at, started_at, outcome, status_code, error, facts
    FROM attempt WHERE task = r.task AND number < %(number)s
    ORDER BY number DESC LIMIT %(count_max)s
) AS a
WHERE r.id = %(task)s AND (%(owner)s::text IS NULL OR o.id = %(owner)s)
