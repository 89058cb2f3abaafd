-- Adds the events in :rows (task, at, kind, detail) to their tasks' timelines.
INSERT INTO event (task, at, kind, detail)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:rows)
