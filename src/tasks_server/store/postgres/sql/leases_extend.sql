-- Extends leases (task, lease). Those that hold.
UPDATE task AS t SET lease_until = %(lease_until)s
FROM jsonb_array_elements(%(rows)s::jsonb) AS r
WHERE t.seq = (r ->> 0)::bigint AND t.lease = (r ->> 1)::bigint
RETURNING t.seq, t.lease
