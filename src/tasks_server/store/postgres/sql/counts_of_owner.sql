-- How many tasks of the owner are in each state. What was folded before :folded is in `counter`.
SELECT c.state, sum(c.n)::bigint FROM (
    SELECT state, n FROM counter WHERE owner = (SELECT seq FROM owner WHERE id = %(owner)s)
    UNION ALL
    SELECT state, n FROM counter_change
    WHERE owner = (SELECT seq FROM owner WHERE id = %(owner)s) AND seq > %(folded)s
) AS c
GROUP BY c.state
