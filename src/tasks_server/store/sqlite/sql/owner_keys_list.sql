SELECT id, created_at, used_at FROM owner_key WHERE owner = :owner ORDER BY created_at, id
