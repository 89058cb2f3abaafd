-- Tasks with their requests, as they move to another database: those that run come as available ones, without a lease.
SELECT
    t.seq, t.id, t.owner, t.lane,
    iif(t.state = 'running', 'available', t.state) AS state,
    iif(t.state = 'running', 9 - t.priority, t.urgency) AS urgency,
    t.priority, t.created_at, t.due_at,
    iif(t.state = 'running', t.due_at, t.execution_at) AS execution_at,
    t.ended_at, t.expire_at, t.remaining_ms, t.attempt, t.failures, t.repeats, t.status_code, t.target, t.error,
    t.metadata, r.spec
FROM task AS t LEFT JOIN request AS r ON r.task = t.seq
