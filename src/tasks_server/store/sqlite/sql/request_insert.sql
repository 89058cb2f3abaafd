-- Stores the sealed specs of the tasks in :rows.
INSERT INTO request (task, spec) SELECT value ->> 0, unhex(value ->> 12) FROM json_each(:rows)
