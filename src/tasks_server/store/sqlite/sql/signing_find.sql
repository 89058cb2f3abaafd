SELECT o.seq, o.id, o.signing, s.id, s.created_at, s.expires_at, s.secret
FROM json_each(:owners) AS wanted
CROSS JOIN owner AS o ON o.seq = wanted.value
LEFT JOIN signing_secret AS s ON s.owner = o.seq
