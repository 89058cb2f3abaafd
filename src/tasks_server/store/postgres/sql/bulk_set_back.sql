-- A step of this work could not be done.
UPDATE bulk
SET
    failures = %(failures)s::integer, look_at = %(look_at)s::bigint, ended_at = %(ended_at)s::bigint,
    updated_at = %(now)s::bigint, waits = %(waits)s::text, error = %(error)s::text
WHERE seq = %(seq)s::bigint AND ended_at = 0
