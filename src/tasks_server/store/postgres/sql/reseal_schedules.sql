SELECT seq, 0, id, '', template FROM schedule
WHERE seq > %(first)s::bigint
ORDER BY seq LIMIT %(count_max)s
