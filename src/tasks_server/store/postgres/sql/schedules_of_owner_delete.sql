DELETE FROM schedule WHERE owner = %(owner)s::integer
