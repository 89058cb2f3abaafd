-- Writes tasks that were steered, as `task_change` does one; their lanes and targets stay.
UPDATE task AS t
SET
    state = r ->> 'state', urgency = (r ->> 'urgency')::smallint, due_at = (r ->> 'due_at')::bigint,
    execution_at = (r ->> 'execution_at')::bigint, ended_at = (r ->> 'ended_at')::bigint,
    failures = (r ->> 'failures')::integer, status_code = (r ->> 'status_code')::smallint, error = r ->> 'error',
    remaining_ms = (r ->> 'remaining_ms')::bigint, expire_at = (r ->> 'expire_at')::bigint,
    lease = NULL, lease_until = NULL
FROM jsonb_array_elements(%(rows)s::jsonb) AS r
WHERE t.seq = (r ->> 'seq')::bigint
