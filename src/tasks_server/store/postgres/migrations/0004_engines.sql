-- What engines say of themselves every few seconds, so that owners can be told why a task waits.

CREATE TABLE engine (
    number integer PRIMARY KEY,             -- of the node
    started_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    facts text NOT NULL                     -- as JSON
) WITH (fillfactor = 50);
