-- Removes the attempts in :rows.
DELETE FROM attempt WHERE (task, number) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:rows))
