-- When the newest attempt ended, of all owners, of those in a span of time, in some days and of what was kept of others.
SELECT max((
    SELECT ended_at FROM attempt
    WHERE owner = o.seq AND (day < 0 OR day BETWEEN %(first)s AND %(last)s)
        AND ended_at >= %(since)s AND ended_at < %(before)s
    ORDER BY ended_at DESC LIMIT 1
))
FROM owner AS o WHERE o.deleted_at IS NULL
