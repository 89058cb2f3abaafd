-- How many tasks the owner has in these states, by the counters.
SELECT (
    coalesce((
        SELECT sum(c.n) FROM counter AS c WHERE c.owner = %(owner)s::integer AND c.state = ANY(%(states)s::text[])
    ), 0) + coalesce((
        SELECT sum(c.n) FROM counter_change AS c
        WHERE c.owner = %(owner)s::integer AND c.seq > %(folded)s::bigint AND c.state = ANY(%(states)s::text[])
    ), 0)
)::bigint
