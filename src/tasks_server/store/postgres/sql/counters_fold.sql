-- Moves changes into the counters, those that nobody else is moving. How many; the last that was ever drawn; the first
-- that was there before.
WITH chosen AS MATERIALIZED (
    SELECT seq FROM counter_change WHERE seq > %(folded)s ORDER BY seq LIMIT %(count_max)s FOR UPDATE SKIP LOCKED
), folded AS (
    DELETE FROM counter_change AS c USING chosen WHERE c.seq = chosen.seq
    RETURNING c.owner, c.lane, c.state, c.n
), added AS (
    INSERT INTO counter (lane, state, owner, n)
    SELECT lane, state, min(owner), sum(n) FROM folded GROUP BY lane, state HAVING sum(n) <> 0
    ORDER BY lane, state
    ON CONFLICT (lane, state) DO UPDATE SET n = counter.n + excluded.n
)
SELECT
    (SELECT count(*) FROM folded),
    (SELECT last_value FROM counter_change_seq_seq),
    (SELECT seq FROM counter_change WHERE seq > %(folded)s ORDER BY seq LIMIT 1)
