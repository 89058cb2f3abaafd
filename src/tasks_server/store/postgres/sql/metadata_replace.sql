-- Gives a task other metadata, and makes it searchable by what is new. (What stays must not be deleted and inserted in
-- one statement: neither would see the other's row.) Without the collation, the index would not serve. What is damaged
-- finds none.
WITH before AS MATERIALIZED (
    SELECT r.task, r.owner, m.key, m.value
    FROM request AS r CROSS JOIN LATERAL jsonb_each_text(
        CASE WHEN r.metadata ~ %(sound)s THEN r.metadata::jsonb END
    ) AS m
    WHERE r.task = %(task)s::bigint AND r.metadata IS NOT NULL
), wanted AS MATERIALIZED (
    SELECT r.task, r.owner, m.key, m.value
    FROM request AS r CROSS JOIN LATERAL jsonb_each_text(%(metadata)s::jsonb) AS m
    WHERE r.task = %(task)s::bigint AND %(metadata)s::jsonb IS NOT NULL
), gone AS (
    DELETE FROM metadata AS m USING (TABLE before EXCEPT TABLE wanted) AS b
    WHERE m.owner = b.owner AND m.key = b.key COLLATE "C" AND m.value = b.value COLLATE "C" AND m.task = b.task
), come AS (
    INSERT INTO metadata (task, owner, key, value) TABLE wanted EXCEPT TABLE before
)
UPDATE request SET metadata = %(metadata)s::text WHERE task = %(task)s::bigint
