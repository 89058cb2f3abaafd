-- What it depends on how many tasks of limited lanes may start: lane, limits, bucket, how many run. A statement of its
-- own after the lock: what others committed before they let go of the lock is seen.
SELECT
    l.seq, l.concurrent_max, l.rate, l.burst, l.paused_at, l.paused_by, coalesce((
        SELECT b.full_at FROM lane_bucket AS b WHERE b.lane = l.seq ORDER BY b.full_at DESC LIMIT 1
    ), 0), CASE WHEN l.concurrent_max IS NULL THEN 0 ELSE (
        coalesce((SELECT c.n FROM counter AS c WHERE c.lane = l.seq AND c.state = 'running'), 0) + coalesce((
            SELECT sum(c.n) FROM counter_change AS c
            WHERE c.owner = l.owner AND c.seq > %(folded)s AND c.lane = l.seq AND c.state = 'running'
        ), 0)
    )::bigint END
FROM lane AS l WHERE l.seq = ANY(%(lanes)s)
