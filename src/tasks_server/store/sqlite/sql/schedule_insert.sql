INSERT INTO schedule (id, owner, name, look_at, facts, template)
VALUES (:id, :owner, :name, :look_at, :facts, :template)
ON CONFLICT (owner, name) DO NOTHING
RETURNING seq
