SELECT a.task, a.number, t.id, '', a.facts FROM attempt AS a CROSS JOIN task AS t ON t.seq = a.task
WHERE (a.task, a.number) > (:first, :second) ORDER BY a.task, a.number LIMIT :count_max
