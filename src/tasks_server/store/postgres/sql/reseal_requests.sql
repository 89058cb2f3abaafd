SELECT task, 0, id, '', spec FROM request WHERE task > %(first)s::bigint ORDER BY task LIMIT %(count_max)s
