-- What the key of an owner was used for, under any of the names keys, as far as that is still remembered.
SELECT i.digest, i.task
FROM owner AS o
JOIN idempotency AS i ON i.owner = o.seq AND i.key = ANY(%(keys)s::text[])
WHERE o.id = %(owner)s AND o.deleted_at IS NULL AND i.expires_at > %(now)s
ORDER BY i.expires_at DESC
LIMIT 1
