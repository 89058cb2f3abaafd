-- Which tasks schedules made: each row is the id of a task, the id of the schedule, the fire time.
INSERT INTO schedule_run (task, schedule, fire_at)
SELECT q.task, r ->> 1, (r ->> 2)::bigint
FROM jsonb_array_elements(%(rows)s::jsonb) AS r
JOIN request AS q ON q.id = r ->> 0
