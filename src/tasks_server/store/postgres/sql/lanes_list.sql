-- Lanes of an owner by name, those after a name.
SELECT
    l.seq, l.name, l.concurrent_max, l.rate, l.burst, l.paused_at, l.paused_by,
    coalesce((SELECT b.full_at FROM lane_bucket AS b WHERE b.lane = l.seq ORDER BY b.full_at DESC LIMIT 1), 0), l.deleted_at,
    l.callbacks
FROM lane AS l
WHERE l.owner = (SELECT seq FROM owner WHERE id = %(owner)s AND deleted_at IS NULL) AND l.name > %(after)s
ORDER BY l.name LIMIT %(count_max)s
