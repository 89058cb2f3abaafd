-- Writes a task that its owner changed; a lease that it had is gone unless it runs on.
UPDATE task
SET
    lane = %(lane)s::integer, state = %(state)s::text, urgency = %(urgency)s::smallint,
    priority = %(priority)s::smallint, due_at = %(due_at)s::bigint, execution_at = %(execution_at)s::bigint,
    ended_at = %(ended_at)s::bigint, failures = %(failures)s::integer, status_code = %(status_code)s::smallint,
    error = %(error)s::text, remaining_ms = %(remaining_ms)s::bigint, expire_at = %(expire_at)s::bigint,
    target = %(target)s::text,
    lease = CASE WHEN %(state)s::text = 'running' THEN lease END,
    lease_until = CASE WHEN %(state)s::text = 'running' THEN lease_until END
WHERE seq = %(seq)s::bigint
