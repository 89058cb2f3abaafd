-- Makes a lane on its first use.
INSERT INTO lane (owner, name) VALUES (:owner, :name) ON CONFLICT (owner, name) DO UPDATE SET name = name RETURNING seq
