-- Tasks of the owner that are neither final nor paused, in order of arrival.
SELECT seq FROM task
WHERE owner = %(owner)s::integer AND ended_at = 0 AND seq > %(after)s::bigint AND seq <= %(until)s::bigint
ORDER BY seq LIMIT %(count_max)s::bigint
