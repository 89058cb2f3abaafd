-- The key gets its name under the present cipher key. Where it was used under both, the older memory is left to its end.
UPDATE idempotency SET key = :renamed, digest = :sealed
WHERE owner = (SELECT seq FROM owner WHERE id = :bound_to) AND key = :name AND NOT EXISTS (
    SELECT 1 FROM idempotency AS other WHERE other.owner = idempotency.owner AND other.key = :renamed
)
