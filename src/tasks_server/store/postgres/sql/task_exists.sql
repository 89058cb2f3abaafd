SELECT EXISTS (
    SELECT FROM request AS r JOIN owner AS o ON o.seq = r.owner
    WHERE r.id = %(id)s AND (%(owner)s::text IS NULL OR o.id = %(owner)s)
)
