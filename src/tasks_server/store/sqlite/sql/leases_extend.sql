-- Extends the leases in :rows (task, lease).
UPDATE task SET lease_until = :lease_until
FROM json_each(:rows) AS r
WHERE task.seq = r.value ->> 0 AND task.lease = r.value ->> 1
