SELECT coalesce((SELECT seq FROM task INDEXED BY task_owner WHERE owner = :owner ORDER BY seq DESC LIMIT 1), 0)
