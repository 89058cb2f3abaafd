-- When the newest attempt ended, of all owners, of those in a span of time.
SELECT max((
    SELECT max(a.ended_at) FROM attempt AS a WHERE a.owner = o.seq AND a.ended_at >= :since AND a.ended_at < :before
))
FROM owner AS o WHERE o.deleted_at IS NULL
