SELECT number, started_at, seen_at, facts FROM engine
