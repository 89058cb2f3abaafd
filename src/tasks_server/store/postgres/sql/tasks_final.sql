-- Whose those of these tasks are (pairs of owner and task; any owner, where there is none) that are final.
SELECT DISTINCT t.owner
FROM jsonb_array_elements(%(items)s::jsonb) AS i
JOIN request AS r ON r.id = (i ->> 1) COLLATE "C"
JOIN task AS t ON t.seq = r.task
JOIN owner AS o ON o.seq = t.owner
WHERE t.state IN ('completed', 'failed', 'revoked') AND (i ->> 0 IS NULL OR o.id = i ->> 0)
ORDER BY t.owner
