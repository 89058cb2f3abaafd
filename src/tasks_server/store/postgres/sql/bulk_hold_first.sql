-- Holds one task, once whoever holds it lets go of it.
SELECT seq FROM task WHERE seq = %(seq)s::bigint FOR UPDATE
