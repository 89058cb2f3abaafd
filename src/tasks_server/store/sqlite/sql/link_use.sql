INSERT INTO used_link (id, until) VALUES (:id, :until) ON CONFLICT (id) DO NOTHING RETURNING 1
