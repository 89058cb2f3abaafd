UPDATE owner SET retention_ms = %(retention_ms)s WHERE id = %(id)s AND deleted_at IS NULL RETURNING seq
