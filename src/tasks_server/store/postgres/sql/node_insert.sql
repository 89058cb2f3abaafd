INSERT INTO node (host, pid, role, version, realm, born, started_at, seen_at)
VALUES (%(host)s, %(pid)s, %(role)s, %(version)s, %(realm)s, %(born)s, %(now)s, %(now)s)
RETURNING number
