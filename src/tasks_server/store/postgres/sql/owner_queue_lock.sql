-- Keeps tasks of this owner from being stored until the transaction ends.
SELECT pg_advisory_xact_lock(%(class)s::integer, %(owner)s::integer)
