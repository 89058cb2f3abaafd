-- Remembers the keys in :rows (owner, key, digest, task, expires_at); an expired memory is overwritten.
INSERT OR REPLACE INTO idempotency (owner, key, digest, task, expires_at)
SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4 FROM json_each(:rows)
