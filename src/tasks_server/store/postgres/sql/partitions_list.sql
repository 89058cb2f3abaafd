-- The partitions of the attempts, by name.
SELECT c.relname::text
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'attempt'::regclass
