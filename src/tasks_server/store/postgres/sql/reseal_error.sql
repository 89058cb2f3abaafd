-- Puts in the new sealed value where the old one, known by its head, still is.
UPDATE task AS p SET error = 'sealed:' || (r ->> 4)
FROM jsonb_array_elements(%(rows)s::jsonb) AS r
WHERE p.seq = (r ->> 0)::bigint AND starts_with(p.error, 'sealed:' || (r ->> 3))
