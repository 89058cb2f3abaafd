-- Records what became of running tasks, where the lease still holds, and their attempts. Those that were recorded. Ends
-- that are told, if their lane or owner asks for that (`told_by_others`), are left to be recorded with their callbacks.
WITH r AS MATERIALIZED (
    SELECT
        (r ->> 0)::bigint AS seq, (r ->> 1)::bigint AS lease, r ->> 2 AS state, (r ->> 3)::bigint AS due_at,
        (r ->> 4)::bigint AS execution_at, (r ->> 5)::integer AS failures, (r ->> 6)::integer AS repeats,
        (r ->> 7)::bigint AS ended_at, (r ->> 8)::smallint AS status_code, r ->> 9 AS error,
        (r ->> 10)::bigint AS remaining_ms, r -> 11 AS attempt,
        (r ->> 12)::boolean AS told_by_others
    FROM jsonb_array_elements(%(rows)s::jsonb) AS r
), settled AS (
    UPDATE task AS t
    SET
        state = r.state, due_at = r.due_at, execution_at = coalesce(r.execution_at, t.execution_at),
        failures = r.failures, repeats = r.repeats, ended_at = r.ended_at, status_code = r.status_code,
        error = r.error, remaining_ms = r.remaining_ms, urgency = 9 - t.priority, lease = NULL, lease_until = NULL
    FROM r
    WHERE t.seq = r.seq AND t.lease = r.lease AND NOT (
        r.told_by_others AND (
            EXISTS (SELECT 1 FROM lane AS l WHERE l.owner = t.owner AND l.callbacks IS NOT NULL)
            OR EXISTS (SELECT 1 FROM owner AS o WHERE o.seq = t.owner AND o.callbacks IS NOT NULL)
        )
    )
    RETURNING t.seq, r.lease, t.owner, t.lane, t.state, r.attempt
), recorded AS (
    INSERT INTO attempt (
        task, number, owner, day, due_at, started_at, ended_at, status_code, outcome, error, response, facts
    )
    SELECT
        seq, (attempt ->> 1)::integer, owner, (attempt ->> 3)::integer, (attempt ->> 4)::bigint,
        (attempt ->> 5)::bigint, (attempt ->> 6)::bigint, (attempt ->> 8)::smallint, attempt ->> 7, attempt ->> 9,
        decode(attempt ->> 10, 'hex'), decode(attempt ->> 11, 'hex')
    FROM settled WHERE jsonb_typeof(attempt) = 'array'
), moved AS (
    SELECT owner, lane, state, count(*) AS n FROM settled GROUP BY owner, lane, state
), counted AS (
    INSERT INTO counter_change (owner, lane, state, n)
    SELECT owner, lane, state, n FROM moved
    UNION ALL SELECT owner, lane, 'running', -sum(n) FROM moved GROUP BY owner, lane
)
SELECT seq, lease FROM settled
