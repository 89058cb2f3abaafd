-- Holds what is known of the clock.
INSERT INTO clock AS c (one, facts) VALUES (1, '{}')
ON CONFLICT (one) DO UPDATE SET facts = c.facts
RETURNING facts
