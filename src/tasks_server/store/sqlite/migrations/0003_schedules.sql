-- Recurring schedules, and which tasks they made.

CREATE TABLE schedule (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner INTEGER NOT NULL,
    name TEXT NOT NULL,
    look_at INTEGER,                        -- when its turn is next; NULL: paused or ended
    facts TEXT NOT NULL,                    -- its rule and where it stands, as JSON
    template BLOB NOT NULL,                 -- what its tasks are made from; sealed
    UNIQUE (owner, name)
) STRICT;
CREATE INDEX schedule_look ON schedule (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX schedule_owner ON schedule (owner, id);

CREATE TABLE schedule_run (
    task INTEGER PRIMARY KEY,
    schedule TEXT NOT NULL,                 -- its id: the schedule may be gone
    fire_at INTEGER NOT NULL
) STRICT;
