-- Whether anything can be written. SQLite leaves a page alone to which nothing new is written.
INSERT INTO meta (name, value) VALUES ('touched', randomblob(8)) ON CONFLICT (name) DO UPDATE SET value = excluded.value
