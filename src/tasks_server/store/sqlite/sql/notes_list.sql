SELECT n.number, n.sealed
FROM task AS t
CROSS JOIN owner AS o ON o.seq = t.owner
CROSS JOIN note AS n ON n.task = t.seq
WHERE t.id = :id AND (:owner IS NULL OR o.id = :owner)
