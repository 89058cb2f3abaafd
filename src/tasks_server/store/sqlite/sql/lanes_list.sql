-- Lanes of an owner by name, those after :after.
SELECT
    l.seq, l.name, l.concurrent_max, l.rate, l.burst, l.paused_at, l.paused_by,
    coalesce((SELECT full_at FROM lane_bucket WHERE lane = l.seq), 0), l.deleted_at,
    l.callbacks
FROM lane AS l
WHERE l.owner = (SELECT seq FROM owner WHERE id = :owner AND deleted_at IS NULL) AND l.name > :after
ORDER BY l.name LIMIT :count_max
