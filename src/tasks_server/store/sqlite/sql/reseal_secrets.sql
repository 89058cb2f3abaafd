-- All secrets of so many owners: a cursor by owner then loses none.
SELECT s.owner, 0, o.id, s.id, s.secret
FROM (SELECT DISTINCT owner AS seq FROM signing_secret WHERE owner > :first ORDER BY owner LIMIT :count_max) AS some
CROSS JOIN owner AS o ON o.seq = some.seq
CROSS JOIN signing_secret AS s ON s.owner = o.seq
