INSERT INTO event (task, at, kind, detail) VALUES (:task, :at, :kind, :detail)
