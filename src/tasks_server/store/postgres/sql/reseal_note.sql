-- Puts in the new sealed value where the old one, known by its head, still is.
UPDATE note AS p SET sealed = decode(r ->> 4, 'hex')
FROM jsonb_array_elements(%(rows)s::jsonb) AS r
WHERE p.task = (r ->> 0)::bigint AND p.number = (r ->> 1)::integer
    AND substr(p.sealed, 1, length(decode(r ->> 3, 'hex'))) = decode(r ->> 3, 'hex')
