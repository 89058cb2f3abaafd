-- Removes the notes of attempts in :rows, which have them themselves now.
DELETE FROM note WHERE (task, number) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:rows))
