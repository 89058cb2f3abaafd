-- Tasks with their requests, as they move to another database: those that run come as available ones, without a lease.
SELECT
    t.seq, r.id, t.owner, t.lane,
    CASE WHEN t.state = 'running' THEN 'available' ELSE t.state END AS state,
    (CASE WHEN t.state = 'running' THEN 9 - t.priority ELSE t.urgency END)::smallint AS urgency,
    t.priority, r.created_at, t.due_at,
    CASE WHEN t.state = 'running' THEN t.due_at ELSE t.execution_at END AS execution_at,
    t.ended_at, t.expire_at, t.remaining_ms, t.attempt, t.failures, t.repeats, t.status_code, t.target, t.error,
    r.metadata, r.spec
FROM task AS t LEFT JOIN request AS r ON r.task = t.seq
