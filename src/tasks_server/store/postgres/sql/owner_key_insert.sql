INSERT INTO owner_key (digest, id, owner, created_at) VALUES (%(digest)s, %(id)s, %(owner)s, %(created_at)s)
