-- The whole model.
--
-- owner ── owner_key      who may submit, with at most a few live keys (stored as hashes)
--   └─ lane               a named line of one owner's tasks, made on first use
--        └─ task          what is wanted, its state and its current lease; small, because it changes often
--             ├─ request  the sealed request and configuration; written once, read when run or shown
--             ├─ attempt  one row a try, written when the try has ended, with the sealed response
--             ├─ event    what happened beside the attempts
--             └─ metadata for searching
-- counter                 how many tasks of a lane are in a state; kept with each transition, never recounted
--
-- Instants are milliseconds since the epoch, UTC; 0 means "not yet". `seq` is the adapter's own handle, in order of
-- arrival; those of owners and lanes are never given again, because processes remember them. `lease` holds a token
-- while the task runs and is NULL otherwise.
-- The partial indexes waiting (twice: over all, and by owner, for bursts), available, running are disjoint: a task is
-- in one of them at most.

CREATE TABLE owner (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT UNIQUE,                       -- NULL once deleted, so that the name is free again
    created_at INTEGER NOT NULL,
    tasks_in_queue_max INTEGER NOT NULL,
    tasks_in_queue INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER
) STRICT;

CREATE TABLE owner_key (
    digest BLOB PRIMARY KEY,
    id TEXT NOT NULL,
    owner INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX owner_key_owner ON owner_key (owner);

CREATE TABLE lane (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    owner INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (owner, name)
) STRICT;

CREATE TABLE task (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    state TEXT NOT NULL,
    urgency INTEGER NOT NULL,               -- 9 - priority; -1 when its owner wants it run now
    priority INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    execution_at INTEGER NOT NULL,          -- when the next attempt is due, or when the last began
    ended_at INTEGER NOT NULL DEFAULT 0,    -- the end, or the time of the pause while paused
    expire_at INTEGER,
    remaining_ms INTEGER,                   -- the wait that was left when it was paused
    attempt INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    repeats INTEGER NOT NULL DEFAULT 0,
    status_code INTEGER NOT NULL DEFAULT 0,
    lease INTEGER,
    lease_until INTEGER,
    target TEXT NOT NULL,
    error TEXT,
    metadata TEXT
) STRICT;
CREATE INDEX task_waiting ON task (due_at) WHERE state IN ('scheduled', 'retryable');
CREATE INDEX task_waiting_owner ON task (owner, due_at) WHERE state IN ('scheduled', 'retryable');
CREATE INDEX task_available ON task (owner, lane, urgency, target, due_at) WHERE state = 'available';
CREATE INDEX task_running ON task (lease_until) WHERE state = 'running';
CREATE INDEX task_expiring ON task (expire_at)
    WHERE expire_at IS NOT NULL AND state IN ('scheduled', 'available', 'retryable', 'paused');
CREATE INDEX task_owner ON task (owner);
CREATE INDEX task_ended ON task (owner, ended_at);
CREATE INDEX task_execution ON task (owner, execution_at);
CREATE INDEX task_stopped ON task (owner, state) WHERE state IN ('paused', 'failed', 'revoked');

CREATE TABLE request (
    task INTEGER PRIMARY KEY,
    spec BLOB NOT NULL
) STRICT;

CREATE TABLE attempt (
    task INTEGER NOT NULL,
    number INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    status_code INTEGER NOT NULL,
    error TEXT,
    response BLOB,
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_ended ON attempt (owner, ended_at);

CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    task INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT
) STRICT;
CREATE INDEX event_task ON event (task);

CREATE TABLE metadata (
    owner INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    task INTEGER NOT NULL,
    PRIMARY KEY (owner, key, value, task)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    owner INTEGER NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    task TEXT NOT NULL,                     -- its id: a handle may be given again, and to another owner's task
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_expires ON idempotency (expires_at);

CREATE TABLE counter (
    lane INTEGER NOT NULL,
    state TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (lane, state)
) STRICT, WITHOUT ROWID;
