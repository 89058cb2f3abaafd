-- The row stays until its finished tasks are pruned; its name is free at once.
UPDATE owner SET deleted_at = created_at, name = NULL WHERE seq = %(owner)s
