-- What the clock has shown, so that one that was set back is noticed even if no process was there to see it; and the
-- session of each node's heartbeat, by which a node that starts knows which others are cut off.

CREATE TABLE clock (
    one smallint PRIMARY KEY CHECK (one = 1),
    facts text NOT NULL                     -- as JSON
);
ALTER TABLE node ADD COLUMN backend integer;
