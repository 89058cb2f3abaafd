-- Of which task's end a callback tells: each row is the id of a callback, the id of that task.
INSERT INTO callback (task, source)
SELECT q.task, r ->> 1
FROM jsonb_array_elements(%(rows)s::jsonb) AS r
JOIN request AS q ON q.id = r ->> 0
