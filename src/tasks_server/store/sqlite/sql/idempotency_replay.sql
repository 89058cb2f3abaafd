-- What the key of an owner was used for, under any of the names :keys, as far as that is still remembered at :now.
SELECT i.digest, i.task
FROM owner AS o
CROSS JOIN json_each(:keys) AS k
CROSS JOIN idempotency AS i ON i.owner = o.seq AND i.key = k.value
WHERE o.id = :owner AND o.deleted_at IS NULL AND i.expires_at > :now
ORDER BY i.expires_at DESC
LIMIT 1
