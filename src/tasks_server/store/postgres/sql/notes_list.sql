SELECT n.number, n.sealed
FROM request AS r
JOIN owner AS o ON o.seq = r.owner
JOIN note AS n ON n.task = r.task
WHERE r.id = %(id)s AND (%(owner)s::text IS NULL OR o.id = %(owner)s)
