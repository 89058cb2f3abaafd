SELECT e.at, e.kind, e.detail, e.facts
FROM request AS r
JOIN owner AS o ON o.seq = r.owner
JOIN event AS e ON e.task = r.task
WHERE r.id = %(id)s AND (%(owner)s::text IS NULL OR o.id = %(owner)s)
ORDER BY e.seq DESC
LIMIT %(limit)s
