DELETE FROM idempotency
WHERE (owner, key) IN (
    SELECT owner, key FROM idempotency INDEXED BY idempotency_expires WHERE expires_at <= :now LIMIT :count_max
)
