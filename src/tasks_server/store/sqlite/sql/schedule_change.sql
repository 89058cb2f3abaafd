-- Writes a schedule; a template that is NULL stays as it was. No row when the name is taken.
UPDATE OR IGNORE schedule
SET name = :name, look_at = :look_at, facts = :facts, template = coalesce(:template, template)
WHERE seq = :seq
RETURNING seq
