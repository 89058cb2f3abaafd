INSERT INTO act (at, asked_by, via, who, owner, kind, action, subject, detail)
VALUES (:at, :asked_by, :via, :who, :owner, :kind, :action, :subject, :detail)
