-- What runs, by the process that runs it (the high bits of its lease) and by target; and how much of it is the owner's.
SELECT lease >> 32, target, count(*), sum(owner = :owner)
FROM (
    SELECT lease, target, owner FROM task INDEXED BY task_running
    WHERE state = 'running' LIMIT :count_max
)
GROUP BY lease >> 32, target
