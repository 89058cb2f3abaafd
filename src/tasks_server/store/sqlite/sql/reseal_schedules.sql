SELECT seq, 0, id, '', template FROM schedule WHERE seq > :first ORDER BY seq LIMIT :count_max
