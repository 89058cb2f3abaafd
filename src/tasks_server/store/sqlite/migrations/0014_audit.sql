-- What was done by hand, and by whom; written in the transaction that does it.

CREATE TABLE act (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    asked_by TEXT NOT NULL,
    via TEXT NOT NULL,
    who TEXT,                               -- which key, or which user of the system
    owner TEXT,                             -- the id of the owner whose it is; the owner may be gone
    kind TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT,
    detail TEXT
) STRICT;
CREATE INDEX act_owner ON act (owner, seq);
CREATE INDEX act_at ON act (at, seq);
