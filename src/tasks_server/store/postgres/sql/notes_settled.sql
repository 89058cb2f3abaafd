-- Removes the notes of attempts in rows, which have them themselves now.
DELETE FROM note AS n
USING jsonb_array_elements(%(rows)s::jsonb) AS r
WHERE n.task = (r ->> 0)::bigint AND n.number = (r ->> 1)::integer
