SELECT facts FROM schedule WHERE id > :after ORDER BY id LIMIT :count_max
