-- Removes the tasks in seqs with all that is known of them. Their searchable metadata is found through their own;
-- without the collation, the index would not serve. What is damaged finds none, and stops nobody.
WITH erased AS MATERIALIZED (
    SELECT s::bigint AS task FROM jsonb_array_elements_text(%(seqs)s::jsonb) AS s
), requests AS (
    DELETE FROM request AS r USING erased AS e WHERE r.task = e.task RETURNING r.task, r.owner, r.metadata
), pairs AS MATERIALIZED (
    SELECT r.task, r.owner, d.key COLLATE "C" AS key, d.value COLLATE "C" AS value
    FROM requests AS r CROSS JOIN LATERAL jsonb_each_text(
        CASE WHEN r.metadata ~ %(sound)s THEN r.metadata::jsonb END
    ) AS d
    WHERE r.metadata IS NOT NULL
), searchable AS (
    DELETE FROM metadata AS m USING pairs AS p
    WHERE m.owner = p.owner AND m.key = p.key AND m.value = p.value AND m.task = p.task
), attempts AS (
    DELETE FROM attempt AS a USING erased AS e WHERE a.task = e.task
), notes AS (
    DELETE FROM note AS n USING erased AS e WHERE n.task = e.task
), runs AS (
    DELETE FROM schedule_run AS f USING erased AS e WHERE f.task = e.task
), callbacks AS (
    DELETE FROM callback AS c USING erased AS e WHERE c.task = e.task
), events AS (
    DELETE FROM event AS v USING erased AS e WHERE v.task = e.task
)
DELETE FROM task AS t USING erased AS e WHERE t.seq = e.task
