-- Records what became of the running tasks in :rows; the caller has made sure that their leases hold.
UPDATE task
SET
    state = r.value ->> 2, due_at = r.value ->> 3, execution_at = coalesce(r.value ->> 4, execution_at),
    failures = r.value ->> 5, repeats = r.value ->> 6, ended_at = r.value ->> 7, status_code = r.value ->> 8,
    error = r.value ->> 9, remaining_ms = r.value ->> 10, urgency = 9 - priority, lease = NULL, lease_until = NULL
FROM json_each(:rows) AS r
WHERE task.seq = r.value ->> 0
