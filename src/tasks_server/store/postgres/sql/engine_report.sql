INSERT INTO engine (number, started_at, seen_at, facts)
VALUES (%(number)s, %(started_at)s, %(seen_at)s, %(facts)s)
ON CONFLICT (number) DO UPDATE SET started_at = excluded.started_at, seen_at = excluded.seen_at, facts = excluded.facts
