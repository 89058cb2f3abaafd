SELECT facts FROM schedule
WHERE owner = (SELECT seq FROM owner WHERE id = :owner) AND id > :after
ORDER BY id LIMIT :count_max
