-- Holds one schedule until the transaction ends. What it is like is read afterwards: by a statement that had to wait
-- for the lock, it would be as old as that one's beginning.
SELECT seq FROM schedule WHERE seq = %(seq)s::bigint FOR NO KEY UPDATE
