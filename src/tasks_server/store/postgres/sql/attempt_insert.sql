-- Records the attempts in rows.
INSERT INTO attempt (
    task, number, owner, day, due_at, started_at, ended_at, outcome, status_code, error, response, facts
)
SELECT
    (r ->> 0)::bigint, (r ->> 1)::integer, (r ->> 2)::integer, (r ->> 3)::integer, (r ->> 4)::bigint,
    (r ->> 5)::bigint, (r ->> 6)::bigint, r ->> 7, (r ->> 8)::smallint, r ->> 9, decode(r ->> 10, 'hex'),
    decode(r ->> 11, 'hex')
FROM jsonb_array_elements(%(rows)s::jsonb) AS r
