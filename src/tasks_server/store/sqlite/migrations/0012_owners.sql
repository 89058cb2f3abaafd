-- What the operator sets of an owner, and when each key was used last.

ALTER TABLE owner ADD COLUMN suspended_at INTEGER;  -- its tasks do not start and its keys are refused; NULL: it is not
ALTER TABLE owner ADD COLUMN requests_max INTEGER;  -- requests a minute, of each API process; NULL: as all others
CREATE INDEX owner_suspended ON owner (suspended_at) WHERE suspended_at IS NOT NULL;
ALTER TABLE owner_key ADD COLUMN used_at INTEGER;   -- to a few minutes; NULL: not yet
