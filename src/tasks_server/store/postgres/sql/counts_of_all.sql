-- How many tasks are in each state. What was folded before :folded is in `counter`.
SELECT c.state, sum(c.n)::bigint FROM (
    SELECT state, n FROM counter
    UNION ALL
    SELECT state, n FROM counter_change WHERE seq > %(folded)s
) AS c
GROUP BY c.state
