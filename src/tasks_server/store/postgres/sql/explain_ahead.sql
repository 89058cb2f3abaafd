-- How many of its owner's tasks go before a task: more urgent ones of its lane; more urgent ones of other lanes that are
-- not paused, walked from head to head; of its lane, urgency and target, those due earlier, and those due at the same
-- instant that came before it.
WITH RECURSIVE line AS (
    (SELECT lane FROM task WHERE state = 'available' AND owner = %(owner)s ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT x.lane FROM line AS a CROSS JOIN LATERAL (
        SELECT t.lane FROM task AS t
        WHERE t.state = 'available' AND t.owner = %(owner)s AND t.lane > a.lane ORDER BY t.lane LIMIT 1
    ) AS x
), others AS (
    SELECT lane FROM line LIMIT %(lanes_max)s
)
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
            SELECT FROM others AS o JOIN lane AS l ON l.seq = o.lane CROSS JOIN LATERAL (
                SELECT FROM task AS t
                WHERE t.state = 'available' AND t.owner = %(owner)s AND t.lane = l.seq
                    AND t.urgency < %(urgency)s::smallint
                ORDER BY t.urgency LIMIT %(count_max)s
            ) AS t
            WHERE l.seq <> %(lane)s AND l.paused_at IS NULL LIMIT %(count_max)s
        ) AS elsewhere
    ),
    (
        SELECT count(*) FROM (
            SELECT FROM task
            WHERE state = 'available' AND owner = %(owner)s AND lane = %(lane)s AND urgency = %(urgency)s::smallint
                AND target = %(target)s AND (due_at, seq) < (%(due_at)s, %(seq)s)
            ORDER BY due_at, seq LIMIT %(count_max)s
        ) AS earlier
    )
