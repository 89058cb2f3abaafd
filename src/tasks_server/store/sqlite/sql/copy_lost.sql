-- The attempts that are under way, as lost ones that ended :now.
SELECT
    seq AS task, attempt AS number, owner, due_at, execution_at AS started_at, max(execution_at, :now) AS ended_at,
    'lost' AS outcome, 0 AS status_code, :error AS error, NULL AS response, NULL AS facts
FROM task WHERE state = 'running'
