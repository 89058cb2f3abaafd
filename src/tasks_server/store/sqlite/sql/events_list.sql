SELECT e.at, e.kind, e.detail, e.facts
FROM task AS t
CROSS JOIN owner AS o ON o.seq = t.owner
CROSS JOIN event AS e ON e.task = t.seq
WHERE t.id = :id AND (:owner IS NULL OR o.id = :owner)
ORDER BY e.seq DESC
LIMIT :limit
