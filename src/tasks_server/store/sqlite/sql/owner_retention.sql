UPDATE owner SET retention_ms = :retention_ms WHERE id = :id AND deleted_at IS NULL RETURNING seq
