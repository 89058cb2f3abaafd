INSERT INTO bulk (id, owner, action, filter, asked_by, created_at, updated_at, look_at, until_task, total)
VALUES (
    %(id)s, %(owner)s::integer, %(action)s, %(filter)s, %(asked_by)s, %(created_at)s::bigint, %(created_at)s::bigint,
    %(created_at)s::bigint, %(until)s::bigint, %(total)s::bigint
)
