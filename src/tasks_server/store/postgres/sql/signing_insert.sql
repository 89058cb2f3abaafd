INSERT INTO signing_secret (owner, id, created_at, expires_at, secret)
VALUES (%(owner)s, %(id)s, %(created_at)s, %(expires_at)s::bigint, %(secret)s)
