-- How far work has come.
UPDATE bulk
SET
    started_at = %(started_at)s::bigint, updated_at = %(updated_at)s::bigint, ended_at = %(ended_at)s::bigint,
    look_at = %(look_at)s::bigint, after_task = %(after)s::bigint, seen = %(seen)s::bigint,
    changed = %(changed)s::bigint, skipped = %(skipped)s::bigint, waits = %(waits)s::text, error = %(error)s::text,
    failures = 0
WHERE seq = %(seq)s::bigint
