SELECT
    t.seq, 0, r.id, '',
    CASE WHEN t.error ~ '^sealed:([0-9a-f]{2})+$' THEN decode(substr(t.error, 8), 'hex') END
FROM task AS t JOIN request AS r ON r.task = t.seq
WHERE t.seq > %(first)s ORDER BY t.seq LIMIT %(count_max)s
