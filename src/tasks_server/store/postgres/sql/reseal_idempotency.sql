-- The key gets its name under the present cipher key. Where it was used under both, the older memory is left to its end.
UPDATE idempotency AS p SET key = r ->> 5, digest = decode(r ->> 4, 'hex')
FROM jsonb_array_elements(%(rows)s::jsonb) AS r, owner AS o
WHERE o.id = r ->> 6 AND p.owner = o.seq AND p.key = r ->> 2
    AND substr(p.digest, 1, length(decode(r ->> 3, 'hex'))) = decode(r ->> 3, 'hex')
    AND NOT EXISTS (SELECT 1 FROM idempotency AS other WHERE other.owner = p.owner AND other.key = r ->> 5)
