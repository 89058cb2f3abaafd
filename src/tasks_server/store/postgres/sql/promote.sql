-- The earliest waiting tasks that are due by the horizon stand in line from now on. None of them comes before
-- a due_at and seq. How many, and the last of them; when the next one after the horizon is due; which groups they joined.
WITH due AS MATERIALIZED (
    SELECT seq, due_at, state, owner, lane, urgency, target FROM task
    WHERE state IN ('scheduled', 'retryable') AND due_at <= %(horizon)s AND (due_at, seq) >= (%(due_at)s, %(seq)s)
    ORDER BY due_at, seq LIMIT %(count_max)s
    FOR NO KEY UPDATE SKIP LOCKED
), promoted AS (
    UPDATE task SET state = 'available' WHERE seq = ANY(ARRAY(SELECT seq FROM due)) -- a seek for each, always
), moved AS (
    SELECT owner, lane, state, count(*) AS n FROM due GROUP BY owner, lane, state
), counted AS (
    INSERT INTO counter_change (owner, lane, state, n)
    SELECT owner, lane, state, -n FROM moved
    UNION ALL SELECT owner, lane, 'available', sum(n) FROM moved GROUP BY owner, lane
)
SELECT
    (SELECT count(*) FROM due),
    (SELECT due_at FROM due ORDER BY due_at DESC, seq DESC LIMIT 1),
    (SELECT seq FROM due ORDER BY due_at DESC, seq DESC LIMIT 1),
    (
        SELECT due_at FROM task WHERE state IN ('scheduled', 'retryable') AND due_at > %(horizon)s
        ORDER BY due_at LIMIT 1
    ),
    (
        SELECT jsonb_agg(jsonb_build_array(owner, lane, urgency, target, due_at, 0))
        FROM (
            SELECT owner, lane, urgency, target, min(due_at) AS due_at FROM due
            GROUP BY owner, lane, urgency, target
        ) AS g
    )
