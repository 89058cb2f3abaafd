-- Takes the tasks :seqs for work.
UPDATE task
SET state = 'running', attempt = attempt + 1, lease = :lease, lease_until = :lease_until, execution_at = max(:now, due_at)
WHERE seq IN (SELECT value FROM json_each(:seqs))
