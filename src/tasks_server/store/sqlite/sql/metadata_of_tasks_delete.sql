-- The metadata of the tasks :seqs, found through the tasks themselves. What is damaged finds none, and stops nobody.
DELETE FROM metadata
WHERE (owner, key, value, task) IN (
    SELECT t.owner, m.key, m.value, t.seq
    FROM json_each(:seqs) AS s
    CROSS JOIN task AS t ON t.seq = s.value
    CROSS JOIN json_each(iif(json_valid(t.metadata), t.metadata, '{}')) AS m
    WHERE t.metadata IS NOT NULL
)
