-- Writes tasks that were steered, as `task_change` does one; their lanes, targets and metadata stay.
UPDATE task
SET
    state = r.value ->> 'state', urgency = r.value ->> 'urgency', due_at = r.value ->> 'due_at',
    execution_at = r.value ->> 'execution_at', ended_at = r.value ->> 'ended_at', failures = r.value ->> 'failures',
    status_code = r.value ->> 'status_code', error = r.value ->> 'error', remaining_ms = r.value ->> 'remaining_ms',
    expire_at = r.value ->> 'expire_at', lease = NULL, lease_until = NULL
FROM json_each(:rows) AS r
WHERE task.seq = r.value ->> 'seq'
