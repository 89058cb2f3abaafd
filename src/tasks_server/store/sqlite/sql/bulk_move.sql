-- How far work has come.
UPDATE bulk
SET
    started_at = :started_at, updated_at = :updated_at, ended_at = :ended_at, look_at = :look_at,
    after_task = :after, seen = :seen, changed = :changed, skipped = :skipped, waits = :waits, error = :error,
    failures = 0
WHERE seq = :seq
