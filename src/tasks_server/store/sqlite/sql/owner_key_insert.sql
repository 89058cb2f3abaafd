INSERT INTO owner_key (digest, id, owner, created_at) VALUES (:digest, :id, :owner, :created_at)
