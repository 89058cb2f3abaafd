-- What a lane may do, set by its owner. All NULL: it may do as much as there are slots.

ALTER TABLE lane ADD COLUMN concurrent_max INTEGER; -- tasks of it that may run at once
ALTER TABLE lane ADD COLUMN rate REAL;              -- starts per second
ALTER TABLE lane ADD COLUMN burst INTEGER;          -- starts that may come at once
ALTER TABLE lane ADD COLUMN paused_at INTEGER;
ALTER TABLE lane ADD COLUMN paused_by TEXT;
ALTER TABLE lane ADD COLUMN full_at INTEGER NOT NULL DEFAULT 0; -- microseconds: when all of the burst is there again
