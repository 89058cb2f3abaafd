SELECT id, created_at FROM owner_key WHERE owner = :owner ORDER BY created_at, id
