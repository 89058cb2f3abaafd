-- A heartbeat, with the session that it comes by, unless that is not the node's own. A node that was taken for dead is
-- there again.
INSERT INTO node (number, host, pid, role, version, realm, born, started_at, seen_at, backend)
VALUES (
    %(number)s, %(host)s, %(pid)s, %(role)s, %(version)s, %(realm)s, %(born)s, %(now)s, %(now)s,
    CASE WHEN NOT %(pooled)s THEN pg_backend_pid() END
)
ON CONFLICT (number) DO UPDATE SET seen_at = excluded.seen_at, backend = excluded.backend
