INSERT INTO used_link (id, until) VALUES (%(id)s, %(until)s) ON CONFLICT (id) DO NOTHING RETURNING 1
