UPDATE owner SET tasks_in_queue_max = %(tasks_in_queue_max)s WHERE id = %(id)s AND deleted_at IS NULL RETURNING seq
