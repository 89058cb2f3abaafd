SELECT seq FROM schedule WHERE owner = %(owner)s::integer AND name = %(name)s
