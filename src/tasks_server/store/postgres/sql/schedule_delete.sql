DELETE FROM schedule WHERE seq = %(seq)s::bigint
