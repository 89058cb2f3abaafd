-- All tasks of the owner, in order of arrival.
SELECT task FROM request
WHERE owner = %(owner)s::integer AND task > %(after)s::bigint AND task <= %(until)s::bigint
ORDER BY task LIMIT %(count_max)s::bigint
