-- Removes the attempts in rows.
DELETE FROM attempt AS a
USING jsonb_array_elements(%(rows)s::jsonb) AS r
WHERE a.task = (r ->> 0)::bigint AND a.number = (r ->> 1)::integer AND a.day = (r ->> 2)::integer
