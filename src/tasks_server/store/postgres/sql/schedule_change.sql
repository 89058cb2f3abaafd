-- Writes a schedule; a template that is NULL stays as it was.
UPDATE schedule
SET
    name = %(name)s, look_at = %(look_at)s::bigint, facts = %(facts)s,
    template = coalesce(%(template)s::bytea, template)
WHERE seq = %(seq)s::bigint
