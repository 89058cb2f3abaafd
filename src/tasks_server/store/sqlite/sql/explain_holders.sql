-- Some of the tasks that run in a lane, if it has a limit of how many may.
SELECT id FROM (
    SELECT id, lane FROM task INDEXED BY task_running WHERE state = 'running'
    LIMIT CASE WHEN (SELECT concurrent_max FROM lane WHERE seq = :lane) IS NULL THEN 0 ELSE :running_max END
)
WHERE lane = :lane LIMIT :count_max
