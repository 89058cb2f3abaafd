-- The attempts that are under way, as lost ones that ended `now`.
SELECT
    seq AS task, attempt AS number, owner, due_at, execution_at AS started_at,
    greatest(execution_at, %(now)s::bigint) AS ended_at,
    'lost'::text AS outcome, 0::smallint AS status_code, %(error)s::text AS error, NULL::bytea AS response,
    NULL::bytea AS facts
FROM task WHERE state = 'running'
