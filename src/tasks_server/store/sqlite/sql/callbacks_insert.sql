-- Of which task's end a callback tells: :rows is a JSON array of task, id of the other.
INSERT INTO callback (task, source) SELECT value ->> 0, value ->> 1 FROM json_each(:rows)
