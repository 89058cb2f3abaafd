-- What a lane may do, set by its owner. All NULL: it may do as much as there are slots.

ALTER TABLE lane ADD COLUMN concurrent_max INTEGER; -- tasks of it that may run at once
ALTER TABLE lane ADD COLUMN rate REAL;              -- starts per second
ALTER TABLE lane ADD COLUMN burst INTEGER;          -- starts that may come at once; NULL: by the rate
ALTER TABLE lane ADD COLUMN paused_at INTEGER;
ALTER TABLE lane ADD COLUMN paused_by TEXT;
ALTER TABLE lane ADD COLUMN deleted_at INTEGER;     -- its owner deleted it: it is shown no more unless it is used again
CREATE INDEX lane_limited ON lane (seq) WHERE concurrent_max IS NOT NULL OR rate IS NOT NULL OR paused_at IS NOT NULL;

-- The buckets of lanes with a rate; none yet: full.
CREATE TABLE lane_bucket (
    lane INTEGER PRIMARY KEY,
    full_at INTEGER NOT NULL                        -- microseconds: when all of the burst is there again
) STRICT;
