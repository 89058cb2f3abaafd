-- Holds the schedules after a handle. Those that another has in hand are passed over.
SELECT seq, facts FROM schedule WHERE seq > %(seq)s::bigint
ORDER BY seq LIMIT %(count_max)s
FOR NO KEY UPDATE SKIP LOCKED
