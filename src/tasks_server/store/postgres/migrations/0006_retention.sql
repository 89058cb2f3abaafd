-- How long an owner's history is kept; NULL: as the operator has set for all.

ALTER TABLE owner ADD COLUMN retention_ms bigint;

-- Attempts that are kept beyond their day, which is dropped as a whole: those of owners that keep history for longer,
-- and the last one of each task that lives on.
CREATE TABLE attempt_kept PARTITION OF attempt FOR VALUES FROM (MINVALUE) TO (0);

-- Where a task stood when something happened to it, as JSON.
ALTER TABLE event ADD COLUMN facts text;
