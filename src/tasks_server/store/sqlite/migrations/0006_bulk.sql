-- Work on many tasks at once that the engines do, piece by piece; `after_task` is how far it has come.

CREATE TABLE bulk (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner INTEGER NOT NULL,
    action TEXT NOT NULL,
    filter TEXT NOT NULL,                   -- as JSON
    asked_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL DEFAULT 0,
    look_at INTEGER NOT NULL,               -- when its turn is next
    cancelled INTEGER NOT NULL DEFAULT 0,
    until_task INTEGER NOT NULL,            -- the newest task that it may touch
    after_task INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL,                 -- how many tasks it will look at, about
    seen INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    waits TEXT,                             -- why it does not go on just now
    error TEXT
) STRICT;
CREATE INDEX bulk_open ON bulk (look_at) WHERE ended_at = 0;
CREATE INDEX bulk_open_owner ON bulk (owner) WHERE ended_at = 0;
CREATE INDEX bulk_ended ON bulk (ended_at) WHERE ended_at > 0;
CREATE INDEX bulk_owner ON bulk (owner, id);
