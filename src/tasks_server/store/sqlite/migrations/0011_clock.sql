-- What the clock has shown, so that one that was set back is noticed even if no process was there to see it.

CREATE TABLE clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    facts TEXT NOT NULL                     -- as JSON
) STRICT;
