-- Lists of the tasks that run handlers, and of those that a schedule made: each in order of arrival.

CREATE INDEX task_handler ON task (owner, seq) WHERE target >= '@' AND target < 'A';
CREATE INDEX schedule_run_schedule ON schedule_run (schedule, task);
