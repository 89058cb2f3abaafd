SELECT id, seq FROM owner WHERE id IN (SELECT jsonb_array_elements_text(%(ids)s::jsonb)) AND deleted_at IS NULL
