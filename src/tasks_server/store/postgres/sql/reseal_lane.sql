-- Puts in the new sealed value where the old one, known by its head, still is.
UPDATE lane AS p SET callbacks = decode(r ->> 4, 'hex')
FROM jsonb_array_elements(%(rows)s::jsonb) AS r
WHERE p.seq = (r ->> 0)::bigint
    AND substr(p.callbacks, 1, length(decode(r ->> 3, 'hex'))) = decode(r ->> 3, 'hex')
