SELECT r.task, 0, t.id, '', r.spec FROM request AS r CROSS JOIN task AS t ON t.seq = r.task
WHERE r.task > :first ORDER BY r.task LIMIT :count_max
