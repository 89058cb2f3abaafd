-- Of each owner in :ids (a JSON array): its handle, its limit, how many tasks it has in queue. And the last task.
SELECT json_group_array(json_array(id, seq, tasks_in_queue_max, tasks_in_queue)), (SELECT max(seq) FROM task)
FROM owner
WHERE id IN (SELECT value FROM json_each(:ids)) AND deleted_at IS NULL
