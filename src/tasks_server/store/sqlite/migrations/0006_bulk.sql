-- Work on many tasks at once that the engines do, piece by piece; `after_task` is how far it has come.

CREATE TABLE bulk (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner INTEGER NOT NULL,
    action TEXT NOT NULL,
    filter TEXT NOT NULL,                   -- as JSON
    asked_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    until_task INTEGER NOT NULL,            -- the newest task that it may touch
    after_task INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX bulk_open ON bulk (seq) WHERE ended_at = 0;
CREATE INDEX bulk_owner ON bulk (owner, seq);
