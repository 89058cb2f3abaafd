SELECT s.seq, s.owner, o.id, s.facts, s.template, s.id, s.name
FROM schedule AS s
JOIN owner AS o ON o.seq = s.owner
WHERE s.id = %(key)s AND (%(owner)s::text IS NULL OR o.id = %(owner)s)
