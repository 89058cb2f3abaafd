-- How many tasks of an owner's lanes are in each state.
SELECT lane, state, sum(n)::bigint FROM (
    SELECT c.lane, c.state, c.n FROM counter AS c WHERE c.lane = ANY(%(lanes)s)
    UNION ALL
    SELECT c.lane, c.state, c.n FROM counter_change AS c
    WHERE c.owner = (SELECT seq FROM owner WHERE id = %(owner)s) AND c.seq > %(folded)s AND c.lane = ANY(%(lanes)s)
) AS c
GROUP BY lane, state
