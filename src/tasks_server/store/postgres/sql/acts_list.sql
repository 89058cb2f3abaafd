-- What was done by hand, the newest first.
SELECT a.seq, a.at, a.asked_by, a.via, a.who, a.owner, o.name, a.kind, a.action, a.subject, a.detail
FROM act AS a LEFT JOIN owner AS o ON o.id = a.owner
WHERE a.seq < %(before)s ORDER BY a.seq DESC LIMIT %(count_max)s
