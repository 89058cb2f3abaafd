SELECT facts, id, %(owner)s::text, name FROM schedule
WHERE owner = (SELECT seq FROM owner WHERE id = %(owner)s) AND id > %(after)s
ORDER BY id LIMIT %(count_max)s
