SELECT n.task, n.number, r.id, '', n.sealed FROM note AS n JOIN request AS r ON r.task = n.task
WHERE (n.task, n.number) > (%(first)s::bigint, %(second)s::integer) ORDER BY n.task, n.number LIMIT %(count_max)s
