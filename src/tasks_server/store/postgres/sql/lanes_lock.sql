-- Lanes that nobody else is taking from.
SELECT seq FROM lane WHERE seq = ANY(%(lanes)s) ORDER BY seq FOR NO KEY UPDATE SKIP LOCKED
