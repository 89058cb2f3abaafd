SELECT count(*) FROM schedule WHERE owner = %(owner)s::integer
