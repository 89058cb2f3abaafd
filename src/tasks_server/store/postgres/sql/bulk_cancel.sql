-- Ends work that has not ended.
UPDATE bulk SET cancelled = true, ended_at = %(now)s::bigint, updated_at = %(now)s::bigint, waits = NULL
WHERE id = %(id)s AND ended_at = 0
    AND (%(owner)s::text IS NULL OR owner = (SELECT seq FROM owner WHERE id = %(owner)s))
