-- Adds the changes in rows (owner, lane, state, change) to the counters.
INSERT INTO counter_change (owner, lane, state, n)
SELECT (c ->> 0)::integer, (c ->> 1)::integer, c ->> 2, (c ->> 3)::bigint FROM jsonb_array_elements(%(rows)s::jsonb) AS c
