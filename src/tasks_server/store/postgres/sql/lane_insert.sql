-- Makes a lane on its first use.
INSERT INTO lane (owner, name) VALUES (%(owner)s, %(name)s)
ON CONFLICT (owner, name) DO UPDATE SET name = excluded.name RETURNING seq
