INSERT INTO clock (one, facts) VALUES (1, %(facts)s) ON CONFLICT (one) DO UPDATE SET facts = excluded.facts
