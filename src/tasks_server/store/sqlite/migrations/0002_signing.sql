-- What calls are signed with. An owner that has no secret when the database is opened gets one.

ALTER TABLE owner ADD COLUMN signing INTEGER NOT NULL DEFAULT 1;

CREATE TABLE signing_secret (
    owner INTEGER NOT NULL,
    id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,                     -- set once a newer one has taken its place
    secret BLOB NOT NULL,                   -- sealed
    PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;
