-- Whether any lane or owner asks for callbacks. Two tiny indexes answer that.
SELECT EXISTS (SELECT 1 FROM lane WHERE callbacks IS NOT NULL) OR EXISTS (SELECT 1 FROM owner WHERE callbacks IS NOT NULL)
