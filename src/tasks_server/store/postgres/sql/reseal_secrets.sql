-- All secrets of so many owners: a cursor by owner then loses none.
SELECT s.owner, 0, o.id, s.id, s.secret
FROM (
    SELECT DISTINCT owner AS seq FROM signing_secret WHERE owner > %(first)s::bigint ORDER BY owner LIMIT %(count_max)s
) AS chosen
JOIN owner AS o ON o.seq = chosen.seq
JOIN signing_secret AS s ON s.owner = o.seq
ORDER BY s.owner
