-- Some of the tasks that run in a lane, if it has a limit of how many may.
SELECT q.id FROM lane AS l
CROSS JOIN LATERAL (
    SELECT r.seq FROM (SELECT seq, lane FROM task WHERE state = 'running' LIMIT %(running_max)s) AS r
    WHERE r.lane = l.seq LIMIT %(count_max)s
) AS t
JOIN request AS q ON q.task = t.seq
WHERE l.seq = %(lane)s AND l.concurrent_max IS NOT NULL
