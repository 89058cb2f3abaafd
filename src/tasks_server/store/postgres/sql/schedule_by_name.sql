SELECT s.seq, s.owner, o.id, s.facts, s.template, s.id, s.name
FROM owner AS o
JOIN schedule AS s ON s.owner = o.seq
WHERE o.id = %(owner)s AND s.name = %(key)s
