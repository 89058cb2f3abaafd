DELETE FROM idempotency AS i USING (
    SELECT owner, key FROM idempotency WHERE expires_at <= %(now)s ORDER BY expires_at LIMIT %(count_max)s
    FOR UPDATE SKIP LOCKED
) AS old
WHERE i.owner = old.owner AND i.key = old.key
