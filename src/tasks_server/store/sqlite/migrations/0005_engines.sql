-- What engines say of themselves every few seconds, so that owners can be told why a task waits.

CREATE TABLE engine (
    number INTEGER PRIMARY KEY,             -- of the node
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    facts TEXT NOT NULL                     -- as JSON
) STRICT;
