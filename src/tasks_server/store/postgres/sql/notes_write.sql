-- Keeps the notes in rows where the lease still holds.
INSERT INTO note (task, number, sealed)
SELECT t.seq, (r ->> 2)::integer, decode(r ->> 3, 'hex')
FROM jsonb_array_elements(%(rows)s::jsonb) AS r
CROSS JOIN LATERAL (SELECT seq FROM task WHERE seq = (r ->> 0)::bigint AND lease = (r ->> 1)::bigint LIMIT 1) AS t
ORDER BY t.seq
ON CONFLICT (task, number) DO UPDATE SET sealed = excluded.sealed
