INSERT INTO owner (id, name, created_at, tasks_in_queue_max)
VALUES (%(id)s, %(name)s, %(created_at)s, %(tasks_in_queue_max)s)
ON CONFLICT (name) DO NOTHING RETURNING seq
