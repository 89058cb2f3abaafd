SELECT facts, id, :owner, name FROM schedule
WHERE owner = (SELECT seq FROM owner WHERE id = :owner) AND id > :after
ORDER BY id LIMIT :count_max
