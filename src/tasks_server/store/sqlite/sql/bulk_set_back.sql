-- A step of this work could not be done.
UPDATE bulk
SET failures = :failures, look_at = :look_at, ended_at = :ended_at, updated_at = :now, waits = :waits, error = :error
WHERE seq = :seq AND ended_at = 0
