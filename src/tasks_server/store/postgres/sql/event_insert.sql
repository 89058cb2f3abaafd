INSERT INTO event (task, at, kind, detail)
VALUES (%(task)s::bigint, %(at)s::bigint, %(kind)s::text, %(detail)s::text)
