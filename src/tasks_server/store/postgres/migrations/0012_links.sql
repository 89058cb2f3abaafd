-- Links to sign in with that were used, until they are too old to be used at all.

CREATE TABLE used_link (
    id bytea PRIMARY KEY,
    until bigint NOT NULL
);
