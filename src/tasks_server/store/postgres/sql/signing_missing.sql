-- Owners that have no secret.
SELECT id, created_at FROM owner
WHERE deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM signing_secret AS s WHERE s.owner = owner.seq)
