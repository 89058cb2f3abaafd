-- Holds those of these tasks that nobody else holds.
SELECT seq FROM task
WHERE seq = ANY(%(seqs)s::bigint[])
ORDER BY seq
FOR UPDATE SKIP LOCKED
