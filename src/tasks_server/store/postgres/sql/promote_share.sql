-- Of each of the next owners after `owner` who have waiting tasks: the earliest that are due by the horizon stand in
-- line. Each step seeks to the next owner. How many; how many owners were looked at, and the last of them.
WITH RECURSIVE someone AS (
    (SELECT owner, 1 AS n FROM task WHERE state IN ('scheduled', 'retryable') AND owner > %(owner)s ORDER BY owner LIMIT 1)
    UNION ALL
    SELECT x.owner, s.n + 1 FROM someone AS s CROSS JOIN LATERAL (
        SELECT t.owner FROM task AS t
        WHERE t.state IN ('scheduled', 'retryable') AND t.owner > s.owner ORDER BY t.owner LIMIT 1
    ) AS x
    WHERE s.n < %(owners_max)s
), due AS MATERIALIZED (
    SELECT d.seq, d.state, d.owner, d.lane FROM someone AS s CROSS JOIN LATERAL (
        SELECT t.seq, t.state, t.owner, t.lane FROM task AS t
        WHERE t.state IN ('scheduled', 'retryable') AND t.owner = s.owner AND t.due_at <= %(horizon)s
        ORDER BY t.due_at LIMIT %(each_max)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS d
), promoted AS (
    UPDATE task SET state = 'available' WHERE seq = ANY(ARRAY(SELECT seq FROM due))
), moved AS (
    SELECT owner, lane, state, count(*) AS n FROM due GROUP BY owner, lane, state
), counted AS (
    INSERT INTO counter_change (owner, lane, state, n)
    SELECT owner, lane, state, -n FROM moved
    UNION ALL SELECT owner, lane, 'available', sum(n) FROM moved GROUP BY owner, lane
)
SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM someone), (SELECT max(owner) FROM someone)
