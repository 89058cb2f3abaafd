-- What runs, by the process that runs it (the high bits of its lease) and by target; and how much of it is the owner's.
SELECT r.lease >> 32, r.target, count(*), count(*) FILTER (WHERE r.owner = %(owner)s)
FROM (SELECT lease, target, owner FROM task WHERE state = 'running' LIMIT %(count_max)s) AS r
GROUP BY r.lease >> 32, r.target
