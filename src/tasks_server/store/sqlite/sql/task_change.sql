-- Writes a task that its owner changed; a lease that it had is gone unless it runs on.
UPDATE task
SET
    lane = :lane, state = :state, urgency = :urgency, priority = :priority, due_at = :due_at,
    execution_at = :execution_at, ended_at = :ended_at, failures = :failures, status_code = :status_code,
    error = :error, remaining_ms = :remaining_ms, expire_at = :expire_at, target = :target, metadata = :metadata,
    lease = iif(:state = 'running', lease, NULL), lease_until = iif(:state = 'running', lease_until, NULL)
WHERE seq = :seq
