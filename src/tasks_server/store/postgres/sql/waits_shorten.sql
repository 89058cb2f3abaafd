-- The waiting tasks in rows (task, due_at), which are held, are due at another time.
UPDATE task AS t SET due_at = (r ->> 1)::bigint, execution_at = (r ->> 1)::bigint
FROM jsonb_array_elements(%(rows)s::jsonb) AS r
WHERE t.seq = (r ->> 0)::bigint
