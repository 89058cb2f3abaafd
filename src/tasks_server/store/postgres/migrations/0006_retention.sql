-- How long an owner's history is kept; NULL: as the operator has set for all.

ALTER TABLE owner ADD COLUMN retention_ms bigint;
