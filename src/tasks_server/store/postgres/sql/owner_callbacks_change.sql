UPDATE owner SET callbacks = %(callbacks)s WHERE id = %(id)s AND deleted_at IS NULL RETURNING seq
