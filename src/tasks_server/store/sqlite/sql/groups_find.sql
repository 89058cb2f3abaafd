-- Which groups have available tasks. Each step seeks to the head of the next line or group in the index, so that the
-- cost is that of the groups found, however many tasks stand behind each head. Two seeks a step, because for a row
-- value, (owner, lane) > (a.owner, a.lane), SQLite seeks to the first equal entry and walks over all the equal ones.
-- Of a paused lane, one group is enough, and of an owner that is suspended, one line: it is told apart by the last
-- column. Owners are looked up only while one is suspended.
-- Where to go on in lanes with limits, is said apart.
WITH RECURSIVE
line (seq, n) AS (
    SELECT coalesce((
        SELECT seq FROM task INDEXED BY task_available
        WHERE state = 'available' AND owner = :owner AND lane > :lane
        ORDER BY lane, urgency, target, due_at LIMIT 1
    ), (
        SELECT seq FROM task INDEXED BY task_available
        WHERE state = 'available' AND owner > :owner
        ORDER BY owner, lane, urgency, target, due_at LIMIT 1
    )), 1
    UNION ALL
    SELECT coalesce((
        SELECT b.seq FROM task AS b INDEXED BY task_available
        WHERE b.state = 'available' AND b.owner = a.owner AND b.lane > a.lane
            AND NOT (
                EXISTS (SELECT 1 FROM owner INDEXED BY owner_suspended WHERE suspended_at > 0)
                AND (SELECT suspended_at FROM owner WHERE seq = a.owner) IS NOT NULL
            )
        ORDER BY b.lane, b.urgency, b.target, b.due_at LIMIT 1
    ), (
        SELECT b.seq FROM task AS b INDEXED BY task_available
        WHERE b.state = 'available' AND b.owner > a.owner
        ORDER BY b.owner, b.lane, b.urgency, b.target, b.due_at LIMIT 1
    )), line.n + 1
    FROM line JOIN task AS a ON a.seq = line.seq
    WHERE line.n < :lines_max
),
head (seq, n) AS (
    SELECT coalesce((
        SELECT b.seq FROM task AS b INDEXED BY task_available
        WHERE b.state = 'available' AND b.owner = a.owner AND b.lane = a.lane
            AND b.urgency = iif(l.concurrent_max IS NULL AND l.rate IS NULL, :urgency, :limited_urgency)
            AND b.target > iif(l.concurrent_max IS NULL AND l.rate IS NULL, :target, :limited_target)
        ORDER BY b.target, b.due_at LIMIT 1
    ), (
        SELECT b.seq FROM task AS b INDEXED BY task_available
        WHERE b.state = 'available' AND b.owner = a.owner AND b.lane = a.lane
            AND b.urgency > iif(l.concurrent_max IS NULL AND l.rate IS NULL, :urgency, :limited_urgency)
        ORDER BY b.urgency, b.target, b.due_at LIMIT 1
    ), a.seq), iif(l.paused_at IS NOT NULL
        OR (
            EXISTS (SELECT 1 FROM owner INDEXED BY owner_suspended WHERE suspended_at > 0)
            AND (SELECT suspended_at FROM owner WHERE seq = a.owner) IS NOT NULL
        ), :groups_max, 1)
    FROM line CROSS JOIN task AS a ON a.seq = line.seq
    LEFT JOIN lane AS l ON l.seq = a.lane
    UNION ALL
    SELECT coalesce((
        SELECT b.seq FROM task AS b INDEXED BY task_available
        WHERE b.state = 'available' AND b.owner = a.owner AND b.lane = a.lane AND b.urgency = a.urgency
            AND b.target > a.target
        ORDER BY b.target, b.due_at LIMIT 1
    ), (
        SELECT b.seq FROM task AS b INDEXED BY task_available
        WHERE b.state = 'available' AND b.owner = a.owner AND b.lane = a.lane AND b.urgency > a.urgency
        ORDER BY b.urgency, b.target, b.due_at LIMIT 1
    )), head.n + 1
    FROM head JOIN task AS a ON a.seq = head.seq
    WHERE head.n < :groups_max
)
SELECT
    json_group_array(json_array(a.owner, a.lane, a.urgency, a.target, a.due_at,
        EXISTS (SELECT 1 FROM owner INDEXED BY owner_suspended WHERE suspended_at > 0)
            AND (SELECT suspended_at FROM owner WHERE seq = a.owner) IS NOT NULL)),
    (SELECT count(*) FROM line WHERE seq IS NOT NULL)
FROM head JOIN task AS a ON a.seq = head.seq
