-- Those of the leases (task, lease) that hold.
SELECT t.seq
FROM jsonb_array_elements(%(rows)s::jsonb) AS r JOIN task AS t ON t.seq = (r ->> 0)::bigint
WHERE t.lease = (r ->> 1)::bigint
