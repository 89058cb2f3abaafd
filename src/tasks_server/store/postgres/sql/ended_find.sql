-- Of the tasks (task, whether it asks for a callback itself), those of whose end somebody may want to be told.
SELECT
    t.seq, t.owner, r.id, o.id, l.name, r.created_at, r.metadata, f.schedule, coalesce(f.fire_at, 0), c.source, r.spec,
    l.callbacks, o.callbacks
FROM jsonb_array_elements(%(rows)s::jsonb) AS e
JOIN task AS t ON t.seq = (e ->> 0)::bigint
JOIN owner AS o ON o.seq = t.owner
JOIN lane AS l ON l.seq = t.lane
JOIN request AS r ON r.task = t.seq
LEFT JOIN schedule_run AS f ON f.task = t.seq
LEFT JOIN callback AS c ON c.task = t.seq
WHERE (e ->> 1)::boolean OR l.callbacks IS NOT NULL OR o.callbacks IS NOT NULL
