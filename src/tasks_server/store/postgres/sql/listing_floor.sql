-- Where a page of an owner's runs of handlers ends at the latest: so many of them below a handle.
SELECT t.seq FROM task AS t
WHERE t.owner = (SELECT seq FROM owner WHERE id = %(owner)s) AND t.target >= '@' AND t.target < 'A'
    AND t.seq < %(before)s::bigint
ORDER BY t.seq DESC LIMIT 1 OFFSET %(passed)s::bigint
