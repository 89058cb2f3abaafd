-- Looks at some attempts of a day that is to go, those after one, and moves from there what is to be kept beyond it: the
-- last attempt of each task that is still there, and what an owner wants kept for longer. How many were looked at, and
-- which was the last.
WITH seen AS MATERIALIZED (
    SELECT task, number, owner, ended_at FROM attempt
    WHERE day = %(day)s AND (task, number) > (%(task)s::bigint, %(number)s::integer)
    ORDER BY task, number LIMIT %(count_max)s
), wanted AS MATERIALIZED (
    SELECT s.task, s.number
    FROM seen AS s
    CROSS JOIN LATERAL (SELECT attempt, state FROM task WHERE seq = s.task LIMIT 1) AS t
    JOIN owner AS o ON o.seq = s.owner
    WHERE s.number >= t.attempt - (t.state = 'running')::integer
        OR s.ended_at >= %(now)s - o.retention_ms
), moved AS (
    DELETE FROM attempt AS a USING wanted AS w
    WHERE a.day = %(day)s AND a.task = w.task AND a.number = w.number
    RETURNING a.*
), kept AS (
    INSERT INTO attempt (
        task, number, owner, day, due_at, started_at, ended_at, status_code, outcome, error, response, facts
    )
    SELECT task, number, owner, %(kept_day)s, due_at, started_at, ended_at, status_code, outcome, error, response, facts
    FROM moved
)
SELECT
    count(*), coalesce(max(task), 0),
    coalesce((SELECT number FROM seen ORDER BY task DESC, number DESC LIMIT 1), 0)
FROM seen
