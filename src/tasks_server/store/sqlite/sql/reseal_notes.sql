SELECT n.task, n.number, t.id, '', n.sealed FROM note AS n CROSS JOIN task AS t ON t.seq = n.task
WHERE (n.task, n.number) > (:first, :second) ORDER BY n.task, n.number LIMIT :count_max
