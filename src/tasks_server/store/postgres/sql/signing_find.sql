SELECT o.seq, o.id, o.signing, s.id, s.created_at, s.expires_at, s.secret
FROM jsonb_array_elements_text(%(owners)s::jsonb) AS wanted
JOIN owner AS o ON o.seq = wanted::integer
LEFT JOIN signing_secret AS s ON s.owner = o.seq
