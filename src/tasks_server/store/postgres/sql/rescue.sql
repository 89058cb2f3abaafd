-- Gives back running tasks whose lease is over, or whose node (in the lease's upper bits) is gone: one of `gone`, or,
-- when nothing is known of before, none of `alive`. Their attempts are recorded as lost. How many.
WITH lost AS MATERIALIZED (
    SELECT seq, owner, lane, attempt, due_at, execution_at FROM task
    WHERE state = 'running' AND lease_until >= %(floor)s AND lease_until < %(until)s
        AND (
            lease_until < %(now)s OR (lease >> 32) = ANY(%(gone)s::bigint[])
            OR (%(all)s AND (lease >> 32) <> ALL(%(alive)s::bigint[]))
        )
    ORDER BY lease_until LIMIT %(count_max)s
    FOR NO KEY UPDATE SKIP LOCKED
), freed AS (
    UPDATE task
    SET state = 'available', execution_at = due_at, urgency = 9 - priority, lease = NULL, lease_until = NULL
    WHERE seq = ANY(ARRAY(SELECT seq FROM lost))
), recorded AS (
    INSERT INTO attempt (task, number, owner, day, due_at, started_at, ended_at, outcome, status_code, error)
    SELECT seq, attempt, owner, %(day)s, due_at, execution_at, %(now)s, %(outcome)s, 0, %(error)s FROM lost
), moved AS (
    SELECT owner, lane, count(*) AS n FROM lost GROUP BY owner, lane
), counted AS (
    INSERT INTO counter_change (owner, lane, state, n)
    SELECT owner, lane, 'running', -n FROM moved UNION ALL SELECT owner, lane, 'available', n FROM moved
)
SELECT count(*) FROM lost
