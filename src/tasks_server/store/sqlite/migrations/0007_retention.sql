-- How long an owner's history is kept; NULL: as the operator has set for all.

ALTER TABLE owner ADD COLUMN retention_ms INTEGER;

-- Where a task stood when something happened to it, as JSON.
ALTER TABLE event ADD COLUMN facts TEXT;
