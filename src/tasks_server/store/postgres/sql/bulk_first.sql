-- The work that waits longest for its turn: its handle, its owner's, and what it does. Nothing is held yet: an owner's
-- queue is held before any work of it, by all who hold both.
SELECT seq, owner, action FROM bulk
WHERE ended_at = 0 AND look_at <= %(now)s::bigint
ORDER BY look_at LIMIT 1
