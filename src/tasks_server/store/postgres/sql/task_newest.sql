SELECT coalesce((
    SELECT task FROM request WHERE owner = %(owner)s::integer ORDER BY task DESC LIMIT 1
), 0)
