UPDATE owner SET tasks_in_queue_max = :tasks_in_queue_max WHERE id = :id AND deleted_at IS NULL RETURNING seq
