-- Deletes final tasks that are older than their owner wants them kept, or whose owner is deleted, with all that is
-- known of them; the attempts of others go with their day. How many. Metadata that is damaged stops nobody.
WITH gone AS MATERIALIZED (
    SELECT t.seq, t.owner, t.lane, t.state, o.deleted_at IS NOT NULL AS orphan
    FROM owner AS o CROSS JOIN LATERAL (
        SELECT seq, owner, lane, state FROM task
        WHERE owner = o.seq AND ended_at > 0
            AND ended_at < CASE WHEN o.deleted_at IS NOT NULL THEN 9223372036854775807
                ELSE %(now)s - coalesce(o.retention_ms, %(retention_ms)s) END
            AND state IN ('completed', 'failed', 'revoked')
        ORDER BY ended_at LIMIT %(count_max)s
        FOR UPDATE SKIP LOCKED
    ) AS t
    LIMIT %(count_max)s
), requests AS (
    DELETE FROM request AS r USING gone WHERE r.task = gone.seq RETURNING r.task, r.owner, r.metadata
), searchable AS (
    DELETE FROM metadata AS m USING (
        SELECT r.task, r.owner, e.key, e.value
        FROM requests AS r CROSS JOIN LATERAL jsonb_each_text(
            CASE WHEN r.metadata ~ %(sound)s THEN r.metadata::jsonb END
        ) AS e
        WHERE r.metadata IS NOT NULL
    ) AS e
    WHERE m.owner = e.owner AND m.key = e.key AND m.value = e.value AND m.task = e.task
), notes AS (
    DELETE FROM note AS n USING gone WHERE n.task = gone.seq
), runs AS (
    DELETE FROM schedule_run AS f USING gone WHERE f.task = gone.seq
), callbacks AS (
    DELETE FROM callback AS c USING gone WHERE c.task = gone.seq
), events AS (
    DELETE FROM event AS e USING gone WHERE e.task = gone.seq
), attempts AS (
    DELETE FROM attempt AS a USING gone WHERE gone.orphan AND a.task = gone.seq
), kept AS (
    DELETE FROM attempt AS a USING gone WHERE a.day < 0 AND a.task = gone.seq
), tasks AS (
    DELETE FROM task AS t USING gone WHERE t.seq = gone.seq
), counted AS (
    INSERT INTO counter_change (owner, lane, state, n)
    SELECT owner, lane, state, -count(*) FROM gone GROUP BY owner, lane, state
)
SELECT count(*) FROM gone
