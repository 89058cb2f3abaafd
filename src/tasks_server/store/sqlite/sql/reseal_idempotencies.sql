-- What is remembered of idempotency keys, in order of its end. What ends in one millisecond is read at once.
SELECT i.expires_at, 0, o.id, i.key, CASE WHEN length(i.digest) > 32 THEN i.digest END
FROM idempotency AS i JOIN owner AS o ON o.seq = i.owner
WHERE i.expires_at > :first AND i.expires_at <= (
    SELECT max(n.expires_at) FROM (
        SELECT expires_at FROM idempotency WHERE expires_at > :first ORDER BY expires_at LIMIT :count_max
    ) AS n
)
ORDER BY i.expires_at
