-- Records the attempts in :rows.
INSERT INTO attempt (task, number, owner, due_at, started_at, ended_at, outcome, status_code, error, response, facts)
SELECT
    value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
    value ->> 8, unhex(value ->> 9), unhex(value ->> 10)
FROM json_each(:rows)
