-- Forgets what was done before an instant, the oldest first. What there was.
DELETE FROM act WHERE seq IN (SELECT seq FROM act WHERE at < :before ORDER BY at LIMIT :count_max) RETURNING seq
