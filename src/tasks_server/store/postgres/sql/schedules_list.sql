SELECT s.facts, s.id, o.id, s.name FROM schedule AS s JOIN owner AS o ON o.seq = s.owner
WHERE s.id > %(after)s ORDER BY s.id LIMIT %(count_max)s
