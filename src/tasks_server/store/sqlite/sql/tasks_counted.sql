-- How many tasks the owner has in the states of :states, by the counters.
SELECT coalesce(sum(c.n), 0)
FROM lane AS l
CROSS JOIN json_each(:states) AS s
CROSS JOIN counter AS c ON c.lane = l.seq AND c.state = s.value
WHERE l.owner = :owner
