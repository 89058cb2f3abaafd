-- Ends work that has not ended.
UPDATE bulk SET cancelled = 1, ended_at = :now, updated_at = :now, waits = NULL
WHERE id = :id AND ended_at = 0 AND (:owner IS NULL OR owner = (SELECT seq FROM owner WHERE id = :owner))
