SELECT callbacks FROM owner WHERE id = :id AND deleted_at IS NULL
