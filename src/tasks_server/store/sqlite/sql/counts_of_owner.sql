-- How many tasks of the owner :owner are in each of the :states.
SELECT json_group_array(json_array(s.value, coalesce((
    SELECT sum(c.n) FROM lane AS l CROSS JOIN counter AS c ON c.lane = l.seq AND c.state = s.value
    WHERE l.owner = (SELECT seq FROM owner WHERE id = :owner)
), 0)))
FROM json_each(:states) AS s
