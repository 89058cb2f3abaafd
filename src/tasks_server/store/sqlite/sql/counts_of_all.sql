-- How many tasks are in each of the :states.
SELECT json_group_array(json_array(s.value, coalesce((SELECT sum(c.n) FROM counter AS c WHERE c.state = s.value), 0)))
FROM json_each(:states) AS s
