-- What ended in a span of time, of all owners, in some days and of what was kept of others, in no order.
SELECT
    a.ended_at, a.task, a.number, a.due_at, a.started_at, a.outcome, a.status_code, a.error, r.id, o.id, l.name, t.target,
    f.schedule, f.fire_at, a.facts
FROM (
    SELECT b.* FROM owner AS w CROSS JOIN LATERAL (
        SELECT ended_at, task, number, due_at, started_at, outcome, status_code, error, facts, owner
        FROM attempt
        WHERE owner = w.seq AND (day < 0 OR day BETWEEN %(first)s AND %(last)s)
            AND ended_at >= %(since)s AND ended_at < %(before)s
        LIMIT %(count_max)s
    ) AS b
    WHERE w.deleted_at IS NULL
    LIMIT %(count_max)s
) AS a
LEFT JOIN request AS r ON r.task = a.task
LEFT JOIN task AS t ON t.seq = a.task
LEFT JOIN owner AS o ON o.seq = a.owner
LEFT JOIN lane AS l ON l.seq = t.lane
LEFT JOIN schedule_run AS f ON f.task = a.task
