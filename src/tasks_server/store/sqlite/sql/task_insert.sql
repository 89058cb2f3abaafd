-- Stores the tasks in :rows, a JSON array of arrays.
INSERT INTO task (
    seq, id, owner, lane, state, urgency, priority, created_at, due_at, execution_at, expire_at, target, metadata,
    remaining_ms
)
SELECT
    value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
    value ->> 7, value ->> 8, value ->> 8, value ->> 9, value ->> 10, value ->> 11,
    value ->> 13
FROM json_each(:rows)
