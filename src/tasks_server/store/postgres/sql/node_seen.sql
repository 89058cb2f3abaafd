-- A heartbeat. A node that was taken for dead is there again.
INSERT INTO node (number, host, pid, role, version, realm, born, started_at, seen_at)
VALUES (%(number)s, %(host)s, %(pid)s, %(role)s, %(version)s, %(realm)s, %(born)s, %(now)s, %(now)s)
ON CONFLICT (number) DO UPDATE SET seen_at = excluded.seen_at
