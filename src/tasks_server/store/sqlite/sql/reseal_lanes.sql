SELECT l.seq, 0, o.id, l.name, l.callbacks
FROM lane AS l CROSS JOIN owner AS o ON o.seq = l.owner
WHERE l.seq > :first AND l.callbacks IS NOT NULL
ORDER BY l.seq LIMIT :count_max
