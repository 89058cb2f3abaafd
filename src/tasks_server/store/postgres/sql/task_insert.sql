-- Stores tasks with their sealed specs, their metadata to search by, what their idempotency keys (owner, key, digest,
-- task, expires_at) were used for, and the changes of the counters (owner, lane, state, change).
WITH incoming AS MATERIALIZED (
    SELECT
        nextval('task_seq_seq') AS seq, r ->> 0 AS id, (r ->> 1)::integer AS owner, (r ->> 2)::integer AS lane,
        r ->> 3 AS state, (r ->> 4)::smallint AS urgency, (r ->> 5)::smallint AS priority,
        (r ->> 6)::bigint AS created_at, (r ->> 7)::bigint AS due_at, (r ->> 8)::bigint AS expire_at,
        r ->> 9 AS target, r ->> 10 AS metadata, decode(r ->> 11, 'hex') AS spec, (r ->> 12)::bigint AS remaining_ms
    FROM jsonb_array_elements(%(rows)s::jsonb) AS r
), tasks AS (
    INSERT INTO task (seq, owner, lane, state, urgency, priority, due_at, execution_at, expire_at, remaining_ms, target)
    SELECT seq, owner, lane, state, urgency, priority, due_at, due_at, expire_at, remaining_ms, target FROM incoming
), requests AS (
    INSERT INTO request (task, owner, created_at, id, metadata, spec)
    SELECT seq, owner, created_at, id, metadata, spec FROM incoming
), searchable AS (
    INSERT INTO metadata (owner, key, value, task)
    SELECT i.owner, m.key, m.value, i.seq
    FROM incoming AS i CROSS JOIN LATERAL jsonb_each_text(i.metadata::jsonb) AS m
    WHERE i.metadata IS NOT NULL
), remembered AS (
    INSERT INTO idempotency (owner, key, digest, task, expires_at)
    SELECT (r ->> 0)::integer, r ->> 1, decode(r ->> 2, 'hex'), r ->> 3, (r ->> 4)::bigint
    FROM jsonb_array_elements(%(keys)s::jsonb) AS r
    ON CONFLICT (owner, key) DO UPDATE
    SET digest = excluded.digest, task = excluded.task, expires_at = excluded.expires_at
)
INSERT INTO counter_change (owner, lane, state, n)
SELECT (r ->> 0)::integer, (r ->> 1)::integer, r ->> 2, (r ->> 3)::bigint
FROM jsonb_array_elements(%(changes)s::jsonb) AS r
