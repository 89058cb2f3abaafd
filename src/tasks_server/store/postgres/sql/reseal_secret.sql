-- Puts in the new sealed value where the old one, known by its head, still is.
UPDATE signing_secret AS p SET secret = decode(r ->> 4, 'hex')
FROM jsonb_array_elements(%(rows)s::jsonb) AS r
WHERE p.owner = (r ->> 0)::integer AND p.id = r ->> 2
    AND substr(p.secret, 1, length(decode(r ->> 3, 'hex'))) = decode(r ->> 3, 'hex')
