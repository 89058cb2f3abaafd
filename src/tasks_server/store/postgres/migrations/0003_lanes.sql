-- What a lane may do, set by its owner. All NULL: it may do as much as there are slots.

ALTER TABLE lane
    ADD COLUMN concurrent_max integer,      -- tasks of it that may run at once
    ADD COLUMN rate double precision,       -- starts per second
    ADD COLUMN burst integer,               -- starts that may come at once
    ADD COLUMN paused_at bigint,
    ADD COLUMN paused_by text,
    ADD COLUMN full_at bigint NOT NULL DEFAULT 0; -- microseconds: when all of the burst is there again
ALTER TABLE lane SET (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_limit = 2000);
