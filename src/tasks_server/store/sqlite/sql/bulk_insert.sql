INSERT INTO bulk (id, owner, action, filter, asked_by, created_at, updated_at, look_at, until_task, total)
VALUES (:id, :owner, :action, :filter, :asked_by, :created_at, :created_at, :created_at, :until, :total)
