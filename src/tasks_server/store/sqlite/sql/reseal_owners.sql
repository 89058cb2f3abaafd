SELECT seq, 0, id, '', callbacks FROM owner WHERE seq > :first AND callbacks IS NOT NULL ORDER BY seq LIMIT :count_max
