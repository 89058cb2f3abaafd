-- What the operator sets of an owner, and when each key was used last.

ALTER TABLE owner
    ADD COLUMN suspended_at bigint,         -- its tasks do not start and its keys are refused; NULL: it is not
    ADD COLUMN requests_max bigint;         -- requests a minute, of each API process; NULL: as all others
CREATE INDEX owner_suspended ON owner (suspended_at) WHERE suspended_at IS NOT NULL;
ALTER TABLE owner_key ADD COLUMN used_at bigint; -- to a few minutes; NULL: not yet
