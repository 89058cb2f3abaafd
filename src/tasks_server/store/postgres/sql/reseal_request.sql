-- Puts in the new sealed value where the old one, known by its head, still is.
UPDATE request AS p SET spec = decode(r ->> 4, 'hex')
FROM jsonb_array_elements(%(rows)s::jsonb) AS r
WHERE p.task = (r ->> 0)::bigint
    AND substr(p.spec, 1, length(decode(r ->> 3, 'hex'))) = decode(r ->> 3, 'hex')
