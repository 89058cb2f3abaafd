INSERT INTO clock (one, facts) VALUES (1, :facts) ON CONFLICT (one) DO UPDATE SET facts = excluded.facts
