-- What the key of an owner was used for, as far as that is still remembered at :now.
SELECT i.digest, i.task
FROM owner AS o
CROSS JOIN idempotency AS i ON i.owner = o.seq AND i.key = :key
WHERE o.id = :owner AND o.deleted_at IS NULL AND i.expires_at > :now
