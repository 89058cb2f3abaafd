DELETE FROM bulk WHERE owner = %(owner)s::integer
