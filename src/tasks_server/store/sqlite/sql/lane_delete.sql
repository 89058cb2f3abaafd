-- Forgets a lane's settings, and that it is there.
UPDATE lane
SET concurrent_max = NULL, rate = NULL, burst = NULL, paused_at = NULL, paused_by = NULL, callbacks = NULL,
    deleted_at = :now
WHERE seq = :seq
