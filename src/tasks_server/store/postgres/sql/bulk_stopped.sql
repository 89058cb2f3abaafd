-- Tasks of the owner in one of the states that have an index for themselves, in order of arrival.
SELECT seq FROM task
WHERE state IN ('paused', 'failed', 'revoked') AND owner = %(owner)s::integer AND state = %(state)s
    AND seq > %(after)s::bigint AND seq <= %(until)s::bigint
ORDER BY seq LIMIT %(count_max)s::bigint
