-- Adds the events in :rows (task, at, kind, detail, facts) to their tasks' timelines.
INSERT INTO event (task, at, kind, detail, facts)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(:rows)
