SELECT callbacks FROM owner WHERE id = %(id)s AND deleted_at IS NULL
