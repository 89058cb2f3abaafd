-- The waiting tasks in :rows (task, due_at) are due at another time.
UPDATE task SET due_at = r.value ->> 1, execution_at = r.value ->> 1
FROM json_each(:rows) AS r
WHERE task.seq = r.value ->> 0
