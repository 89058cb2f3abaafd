-- Removes deleted owners that have no tasks left, and no attempts kept beyond their day, with what is left of them.
WITH gone AS MATERIALIZED (
    SELECT seq FROM owner
    WHERE deleted_at IS NOT NULL AND NOT EXISTS (SELECT FROM task WHERE task.owner = owner.seq)
        AND NOT EXISTS (SELECT FROM attempt WHERE attempt.owner = owner.seq AND attempt.day < 0)
    LIMIT %(count_max)s
    FOR UPDATE SKIP LOCKED
), counters AS (
    DELETE FROM counter AS c USING gone WHERE c.owner = gone.seq
), changes AS (
    DELETE FROM counter_change AS c USING gone WHERE c.owner = gone.seq
), buckets AS (
    DELETE FROM lane_bucket AS b USING gone, lane AS l WHERE l.owner = gone.seq AND b.lane = l.seq
), lanes AS (
    DELETE FROM lane AS l USING gone WHERE l.owner = gone.seq
), keys AS (
    DELETE FROM idempotency AS i USING gone WHERE i.owner = gone.seq
)
DELETE FROM owner AS o USING gone WHERE o.seq = gone.seq
