-- Adds the events in rows (task, at, kind, detail, facts) to their tasks' timelines.
INSERT INTO event (task, at, kind, detail, facts)
SELECT (r ->> 0)::bigint, (r ->> 1)::bigint, r ->> 2, r ->> 3, r ->> 4 FROM jsonb_array_elements(%(rows)s::jsonb) AS r
