-- Which tasks schedules made: :rows is a JSON array of task, id of the schedule, fire time.
INSERT INTO schedule_run (task, schedule, fire_at)
SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:rows)
