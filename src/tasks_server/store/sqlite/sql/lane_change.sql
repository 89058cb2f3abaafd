UPDATE lane
SET concurrent_max = :concurrent_max, rate = :rate, burst = :burst, paused_at = :paused_at, paused_by = :paused_by,
    callbacks = iif(:callbacks_stay, callbacks, :callbacks), deleted_at = NULL
WHERE seq = :seq
