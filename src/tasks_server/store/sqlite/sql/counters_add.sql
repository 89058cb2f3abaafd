-- Adds the changes in :rows (lane, state, change) to the counters.
INSERT INTO counter (lane, state, n)
SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:rows) WHERE true
ON CONFLICT (lane, state) DO UPDATE SET n = n + excluded.n
