-- Gives back what was taken under a lease of which nobody was told.
WITH freed AS (
    UPDATE task SET state = 'available', lease = NULL, lease_until = NULL, execution_at = due_at
    WHERE state = 'running' AND lease = ANY(%(leases)s)
    RETURNING owner, lane
), moved AS (
    SELECT owner, lane, count(*) AS n FROM freed GROUP BY owner, lane
)
INSERT INTO counter_change (owner, lane, state, n)
SELECT owner, lane, 'running', -n FROM moved UNION ALL SELECT owner, lane, 'available', n FROM moved
