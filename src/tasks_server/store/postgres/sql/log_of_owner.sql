-- The log of an owner below an entry, in some days and of what was kept of others, newest first. Tasks may be gone.
SELECT
    a.ended_at, a.task, a.number, a.due_at, a.started_at, a.outcome, a.status_code, a.error, r.id, o.id, l.name, t.target,
    f.schedule, f.fire_at, a.facts
FROM (
    SELECT ended_at, task, number, due_at, started_at, outcome, status_code, error, facts, owner
    FROM attempt
    WHERE owner = (SELECT seq FROM owner WHERE id = %(owner)s)
        AND (day < 0 OR day BETWEEN %(first)s AND %(last)s)
        AND ended_at >= %(since)s AND (ended_at, task, number) < (%(instant)s::bigint, %(task)s::bigint, %(number)s::bigint)
    ORDER BY ended_at DESC, task DESC, number DESC
    LIMIT %(count_max)s
) AS a
LEFT JOIN request AS r ON r.task = a.task
LEFT JOIN task AS t ON t.seq = a.task
LEFT JOIN owner AS o ON o.seq = a.owner
LEFT JOIN lane AS l ON l.seq = t.lane
LEFT JOIN schedule_run AS f ON f.task = a.task
ORDER BY a.ended_at DESC, a.task DESC, a.number DESC
