UPDATE owner
SET tasks_in_queue_max = %(tasks_in_queue_max)s, retention_ms = %(retention_ms)s, suspended_at = %(suspended_at)s,
    requests_max = %(requests_max)s
WHERE seq = %(seq)s
