UPDATE request SET spec = %(spec)s::bytea WHERE task = %(task)s::bigint
