-- Which groups have available tasks. Each step seeks to the head of the next line or group in the index, so that the
-- cost is that of the groups found, however many tasks stand behind each head. Two seeks a step, because for a row
-- value, (owner, lane) > (a.owner, a.lane), SQLite seeks to the first equal entry and walks over all the equal ones.
-- Paused lanes are passed over; where to go on in those with limits, is said apart. Then how many lines were looked at, and the last of them; and of those lanes that have
-- limits: lane, limits, bucket, how many run.
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
        ORDER BY b.lane, b.urgency, b.target, b.due_at LIMIT 1
    ), (
        SELECT b.seq FROM task AS b INDEXED BY task_available
        WHERE b.state = 'available' AND b.owner > a.owner
        ORDER BY b.owner, b.lane, b.urgency, b.target, b.due_at LIMIT 1
    )), line.n + 1
    FROM line JOIN task AS a ON a.seq = line.seq
    WHERE line.n < :lines_max
),
spot (seq, urgency, target) AS (
    SELECT
        line.seq, iif(l.concurrent_max IS NULL AND l.rate IS NULL, :urgency, :limited_urgency),
        iif(l.concurrent_max IS NULL AND l.rate IS NULL, :target, :limited_target)
    FROM line CROSS JOIN task AS a ON a.seq = line.seq
    LEFT JOIN lane AS l ON l.seq = a.lane
    WHERE l.paused_at IS NULL
),
head (seq, n) AS (
    SELECT coalesce((
        SELECT b.seq FROM task AS b INDEXED BY task_available
        WHERE b.state = 'available' AND b.owner = a.owner AND b.lane = a.lane AND b.urgency = spot.urgency
            AND b.target > spot.target
        ORDER BY b.target, b.due_at LIMIT 1
    ), (
        SELECT b.seq FROM task AS b INDEXED BY task_available
        WHERE b.state = 'available' AND b.owner = a.owner AND b.lane = a.lane AND b.urgency > spot.urgency
        ORDER BY b.urgency, b.target, b.due_at LIMIT 1
    ), a.seq), 1
    FROM spot CROSS JOIN task AS a ON a.seq = spot.seq
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
    json_group_array(json_array(a.owner, a.lane, a.urgency, a.target, a.due_at)),
    (SELECT count(*) FROM line WHERE seq IS NOT NULL),
    (
        SELECT last FROM (
            SELECT json_array(t.owner, t.lane) AS last, max(line.n) FROM line CROSS JOIN task AS t ON t.seq = line.seq
        )
    ),
    (
        SELECT json_group_array(json_array(
            l.seq, l.concurrent_max, l.rate, l.burst, l.paused_at, l.paused_by,
            coalesce((SELECT full_at FROM lane_bucket WHERE lane = l.seq), 0),
            coalesce((SELECT n FROM counter WHERE lane = l.seq AND state = 'running'), 0)
        ))
        FROM line CROSS JOIN task AS t ON t.seq = line.seq CROSS JOIN lane AS l ON l.seq = t.lane
        WHERE (l.concurrent_max IS NOT NULL OR l.rate IS NOT NULL) AND l.paused_at IS NULL
    )
FROM head JOIN task AS a ON a.seq = head.seq
