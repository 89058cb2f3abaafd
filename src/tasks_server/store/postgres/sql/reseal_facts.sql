SELECT a.task, a.number, r.id, '', a.facts FROM attempt AS a JOIN request AS r ON r.task = a.task
WHERE (a.task, a.number) > (%(first)s::bigint, %(second)s::integer) ORDER BY a.task, a.number LIMIT %(count_max)s
