-- What it depends on how many tasks of lanes may start, of those of :lanes that have limits or are paused: lane, limits,
-- bucket, how many run.
SELECT json_group_array(json_array(
    l.seq, l.concurrent_max, l.rate, l.burst, l.paused_at, l.paused_by,
    coalesce((SELECT full_at FROM lane_bucket WHERE lane = l.seq), 0),
    coalesce((SELECT n FROM counter WHERE lane = l.seq AND state = 'running'), 0)
))
FROM json_each(:lanes) AS g CROSS JOIN lane AS l ON l.seq = g.value
WHERE l.concurrent_max IS NOT NULL OR l.rate IS NOT NULL OR l.paused_at IS NOT NULL
