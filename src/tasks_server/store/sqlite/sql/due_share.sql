-- Of each of the next :owners_max owners after :owner who have waiting tasks: the :each_max earliest that are due by
-- :horizon. Each step seeks to the next owner.
WITH RECURSIVE someone (owner, n) AS (
    SELECT (
        SELECT owner FROM task INDEXED BY task_waiting_owner
        WHERE state IN ('scheduled', 'retryable') AND owner > :owner ORDER BY owner LIMIT 1
    ), 1
    UNION ALL
    SELECT (
        SELECT t.owner FROM task AS t INDEXED BY task_waiting_owner
        WHERE t.state IN ('scheduled', 'retryable') AND t.owner > someone.owner ORDER BY t.owner LIMIT 1
    ), n + 1
    FROM someone
    WHERE someone.owner IS NOT NULL AND n < :owners_max
)
SELECT json_group_array(json_array(owner, json(due))) FROM (
    SELECT someone.owner AS owner, (
        SELECT json_group_array(json_array(seq, lane, state)) FROM (
            SELECT t.seq AS seq, t.lane AS lane, t.state AS state FROM task AS t INDEXED BY task_waiting_owner
            WHERE t.state IN ('scheduled', 'retryable') AND t.owner = someone.owner AND t.due_at <= :horizon
            ORDER BY t.due_at LIMIT :each_max
        )
    ) AS due
    FROM someone
    WHERE someone.owner IS NOT NULL
)
