INSERT INTO engine (number, started_at, seen_at, facts)
VALUES (:number, :started_at, :seen_at, :facts)
ON CONFLICT (number) DO UPDATE SET started_at = excluded.started_at, seen_at = excluded.seen_at, facts = excluded.facts
