-- What a lane may do, set by its owner. All NULL: it may do as much as there are slots.

ALTER TABLE lane
    ADD COLUMN concurrent_max integer,      -- tasks of it that may run at once
    ADD COLUMN rate double precision,       -- starts per second
    ADD COLUMN burst integer,               -- starts that may come at once; NULL: by the rate
    ADD COLUMN paused_at bigint,
    ADD COLUMN paused_by text,
    ADD COLUMN deleted_at bigint,           -- its owner deleted it: it is shown no more unless it is used again
    ALTER COLUMN name TYPE text COLLATE "C";

-- The buckets of lanes with a rate; none yet: full. Each take adds a row and deletes the one before, and whoever asks
-- takes the last in the order of the key: rows that are gone, which no vacuum may remove while some session elsewhere
-- in the database holds an old snapshot, stand before it and are not walked over.
CREATE TABLE lane_bucket (
    lane integer NOT NULL,
    full_at bigint NOT NULL,                -- microseconds: when all of the burst is there again
    PRIMARY KEY (lane, full_at)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_limit = 2000);
