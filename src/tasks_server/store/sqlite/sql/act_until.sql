-- The last thing that was done before an instant.
SELECT seq FROM act WHERE at < :until ORDER BY at DESC, seq DESC LIMIT 1
