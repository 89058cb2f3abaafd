INSERT INTO signing_secret (owner, id, created_at, expires_at, secret) VALUES (:owner, :id, :created_at, :expires_at, :secret)
