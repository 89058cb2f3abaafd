-- What keys (owner, key) were used for, as far as that is still remembered.
SELECT i.owner, i.key, i.digest, i.task
FROM jsonb_array_elements(%(keys)s::jsonb) AS k
JOIN idempotency AS i ON i.owner = (k ->> 0)::integer AND i.key = k ->> 1
WHERE i.expires_at > %(now)s
