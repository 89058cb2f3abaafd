UPDATE owner SET callbacks = :callbacks WHERE id = :id AND deleted_at IS NULL RETURNING seq
