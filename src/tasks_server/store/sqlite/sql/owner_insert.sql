INSERT INTO owner (id, name, created_at, tasks_in_queue_max) VALUES (:id, :name, :created_at, :tasks_in_queue_max)
ON CONFLICT (name) DO NOTHING RETURNING seq
