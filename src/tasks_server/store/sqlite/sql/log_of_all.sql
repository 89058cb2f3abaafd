-- What ended in a span of time, of all owners, in no order.
SELECT
    a.ended_at, a.task, a.number, a.due_at, a.started_at, a.outcome, a.status_code, a.error, t.id, o.id, l.name, t.target,
    f.schedule, f.fire_at, a.facts
FROM owner AS o
CROSS JOIN attempt AS a INDEXED BY attempt_ended ON a.owner = o.seq AND a.ended_at >= :since AND a.ended_at < :before
CROSS JOIN task AS t ON t.seq = a.task
CROSS JOIN lane AS l ON l.seq = t.lane
LEFT JOIN schedule_run AS f ON f.task = a.task
WHERE o.deleted_at IS NULL
LIMIT :count_max
