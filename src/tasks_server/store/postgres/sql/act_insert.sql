INSERT INTO act (at, asked_by, via, who, owner, kind, action, subject, detail)
VALUES (%(at)s, %(asked_by)s, %(via)s, %(who)s, %(owner)s, %(kind)s, %(action)s, %(subject)s, %(detail)s)
