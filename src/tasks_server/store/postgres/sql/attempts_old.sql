-- Attempts that are older than their owner wants them kept, in some days and of what was kept of others, with whether
-- they may go; by owner and end, those after one. The last attempt of a task that is still there stays.
SELECT o.seq, a.ended_at, a.task, a.number, a.day, a.may_go
FROM owner AS o CROSS JOIN LATERAL (
    SELECT
        b.ended_at, b.task, b.number, b.day,
        coalesce(b.number < t.attempt - (t.state = 'running')::integer, true) AS may_go
    FROM attempt AS b LEFT JOIN task AS t ON t.seq = b.task
    WHERE b.owner = o.seq AND (b.day < 0 OR b.day BETWEEN %(first)s AND %(last)s)
        AND b.ended_at >= CASE WHEN o.seq = %(owner)s THEN %(ended_at)s ELSE 0 END
        AND b.ended_at < CASE WHEN o.deleted_at IS NOT NULL THEN 9223372036854775807
            ELSE %(now)s - coalesce(o.retention_ms, %(retention_ms)s) END
        AND (o.seq > %(owner)s
            OR (b.ended_at, b.task, b.number) > (%(ended_at)s::bigint, %(task)s::bigint, %(number)s::integer))
    ORDER BY b.ended_at, b.task, b.number LIMIT %(count_max)s
) AS a
WHERE o.seq >= %(owner)s AND (o.retention_ms < %(retention_ms)s OR %(all)s)
ORDER BY o.seq, a.ended_at, a.task, a.number
LIMIT %(count_max)s
