-- Tasks that may not start any more. Running ones are settled by whoever runs them.
SELECT r.id FROM (
    SELECT seq FROM task
    WHERE expire_at IS NOT NULL AND state IN ('scheduled', 'available', 'retryable', 'paused') AND expire_at <= %(now)s
    ORDER BY expire_at LIMIT %(count_max)s
    FOR NO KEY UPDATE SKIP LOCKED
) AS t JOIN request AS r ON r.task = t.seq
