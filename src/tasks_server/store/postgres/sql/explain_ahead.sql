-- How many go before a task in its lane: more urgent ones; of its urgency and target, those due earlier, and those due
-- at the same instant that came before it.
SELECT
    (
        SELECT count(*) FROM (
            SELECT FROM task
            WHERE state = 'available' AND owner = %(owner)s AND lane = %(lane)s AND urgency < %(urgency)s::smallint
            ORDER BY urgency LIMIT %(count_max)s
        ) AS more_urgent
    ),
    (
        SELECT count(*) FROM (
            SELECT FROM task
            WHERE state = 'available' AND owner = %(owner)s AND lane = %(lane)s AND urgency = %(urgency)s::smallint
                AND target = %(target)s AND (due_at, seq) < (%(due_at)s, %(seq)s)
            ORDER BY due_at, seq LIMIT %(count_max)s
        ) AS earlier
    )
