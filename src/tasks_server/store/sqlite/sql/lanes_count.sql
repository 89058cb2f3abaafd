-- How many lanes an owner has, counted up to :count_max.
SELECT count(*) FROM (SELECT 1 FROM lane WHERE owner = :owner LIMIT :count_max)
