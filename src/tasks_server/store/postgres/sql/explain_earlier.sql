-- How many tasks of its lane, urgency and target were due before a task, or at the same instant and came before it.
SELECT count(*) FROM (
    SELECT FROM task
    WHERE state = 'available' AND owner = %(owner)s AND lane = %(lane)s AND urgency = %(urgency)s::smallint
        AND target = %(target)s AND (due_at, seq) < (%(due_at)s, %(seq)s)
    ORDER BY due_at, seq LIMIT %(count_max)s
) AS earlier
