-- How many lanes an owner has, counted up to a number.
SELECT count(*) FROM (SELECT FROM lane WHERE owner = %(owner)s LIMIT %(count_max)s) AS l
