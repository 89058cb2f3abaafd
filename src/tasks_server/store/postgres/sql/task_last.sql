-- The last handle that was given.
SELECT last_value FROM task_seq_seq
