SELECT s.seq, s.owner, o.id, s.facts, s.template, s.id, s.name
FROM schedule AS s
CROSS JOIN owner AS o ON o.seq = s.owner
WHERE s.id = :key AND (:owner IS NULL OR o.id = :owner)
