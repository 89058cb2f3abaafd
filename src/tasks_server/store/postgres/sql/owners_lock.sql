-- Takes the lock of each owner in turn; the order is the caller's, the same for all.
SELECT pg_advisory_xact_lock(%(class)s, o::integer) FROM jsonb_array_elements_text(%(owners)s::jsonb) AS o
