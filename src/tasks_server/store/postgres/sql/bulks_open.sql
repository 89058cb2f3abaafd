SELECT count(*) FROM bulk WHERE owner = %(owner)s::integer AND ended_at = 0
