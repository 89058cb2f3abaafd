-- Holds one task until the transaction ends. A statement of its own: what a statement that had to wait for the lock
-- reads from other tables is as old as its beginning.
SELECT t.seq
FROM request AS r
JOIN task AS t ON t.seq = r.task
JOIN owner AS o ON o.seq = t.owner
WHERE r.id = %(id)s AND (%(owner)s::text IS NULL OR o.id = %(owner)s)
FOR NO KEY UPDATE OF t
