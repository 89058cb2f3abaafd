-- Takes the oldest tasks of groups (owner, lane, urgency, target, the first's due_at and seq, how many) for work, those
-- that nobody else is taking. All that an attempt needs.
WITH picked AS MATERIALIZED (
    SELECT t.seq FROM jsonb_array_elements(%(groups)s::jsonb) AS g CROSS JOIN LATERAL (
        SELECT seq FROM task
        WHERE state = 'available' AND owner = (g ->> 0)::integer AND lane = (g ->> 1)::integer
            AND urgency = (g ->> 2)::smallint AND target = g ->> 3
            AND (due_at, seq) >= ((g ->> 4)::bigint, (g ->> 5)::bigint)
        ORDER BY due_at, seq LIMIT (g ->> 6)::integer
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS t
), taken AS (
    UPDATE task AS t
    SET state = 'running', attempt = t.attempt + 1, lease = %(lease)s, lease_until = %(lease_until)s,
        execution_at = greatest(%(now)s, t.due_at)
    WHERE t.seq = ANY(ARRAY(SELECT seq FROM picked)) -- never anything but a seek for each
    RETURNING t.seq, t.owner, t.lane, t.target, t.attempt, t.due_at, t.failures, t.repeats, t.status_code, t.error,
        t.remaining_ms, t.expire_at, t.urgency
), moved AS (
    SELECT owner, lane, count(*) AS n FROM taken GROUP BY owner, lane
), counted AS (
    INSERT INTO counter_change (owner, lane, state, n)
    SELECT owner, lane, 'available', -n FROM moved UNION ALL SELECT owner, lane, 'running', n FROM moved
)
SELECT
    t.seq, r.id, t.owner, t.lane, t.target, t.attempt, r.created_at, t.due_at, t.failures, t.repeats, t.status_code,
    t.error, t.remaining_ms, t.expire_at, r.spec, t.urgency
FROM taken AS t JOIN request AS r ON r.task = t.seq
