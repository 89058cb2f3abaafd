SELECT s.facts, s.id, o.id, s.name FROM schedule AS s CROSS JOIN owner AS o ON o.seq = s.owner
WHERE s.id > :after ORDER BY s.id LIMIT :count_max
