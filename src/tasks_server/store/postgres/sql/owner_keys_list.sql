SELECT id, created_at FROM owner_key WHERE owner = %(owner)s ORDER BY created_at, id COLLATE "C"
