-- Of the tasks in :rows (task, whether it asks for a callback itself), those of whose end somebody may want to be told.
SELECT
    t.seq, t.owner, t.id, o.id, l.name, t.created_at, t.metadata, f.schedule, coalesce(f.fire_at, 0), c.source, r.spec,
    l.callbacks, o.callbacks
FROM json_each(:rows) AS e
CROSS JOIN task AS t ON t.seq = e.value ->> 0
CROSS JOIN owner AS o ON o.seq = t.owner
CROSS JOIN lane AS l ON l.seq = t.lane
CROSS JOIN request AS r ON r.task = t.seq
LEFT JOIN schedule_run AS f ON f.task = t.seq
LEFT JOIN callback AS c ON c.task = t.seq
WHERE e.value ->> 1 OR l.callbacks IS NOT NULL OR o.callbacks IS NOT NULL
