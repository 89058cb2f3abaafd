INSERT INTO schedule (id, owner, name, look_at, facts, template)
VALUES (%(id)s, %(owner)s::integer, %(name)s, %(look_at)s::bigint, %(facts)s, %(template)s::bytea)
ON CONFLICT (owner, name) DO NOTHING
RETURNING seq
