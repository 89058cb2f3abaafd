-- Adds the changes in :rows (owner, change) to the numbers of tasks in queue.
UPDATE owner SET tasks_in_queue = tasks_in_queue + (r.value ->> 1)
FROM json_each(:rows) AS r
WHERE owner.seq = r.value ->> 0
