-- When buckets are full again: rows of lane, when it was before, when it is now.
WITH moved AS MATERIALIZED (
    SELECT (r ->> 0)::integer AS lane, (r ->> 1)::bigint AS before, (r ->> 2)::bigint AS after
    FROM jsonb_array_elements(%(rows)s::jsonb) AS r
), gone AS (
    DELETE FROM lane_bucket AS b USING moved WHERE b.lane = moved.lane AND b.full_at = moved.before
)
INSERT INTO lane_bucket (lane, full_at) SELECT lane, after FROM moved
