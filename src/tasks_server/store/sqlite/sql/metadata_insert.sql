-- Makes metadata searchable: :rows holds owner, key, value, task.
INSERT INTO metadata (owner, key, value, task)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:rows)
