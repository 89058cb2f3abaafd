-- Keeps the notes in :rows where the lease still holds.
INSERT OR REPLACE INTO note (task, number, sealed)
SELECT t.seq, r.value ->> 2, unhex(r.value ->> 3)
FROM json_each(:rows) AS r
CROSS JOIN task AS t ON t.seq = r.value ->> 0 AND t.lease = r.value ->> 1
