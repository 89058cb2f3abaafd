-- Where a page of the runs of handlers of all owners ends at the latest: so many tasks of any kind below a handle.
SELECT t.seq FROM task AS t WHERE t.seq < %(before)s::bigint ORDER BY t.seq DESC LIMIT 1 OFFSET %(passed)s::bigint
