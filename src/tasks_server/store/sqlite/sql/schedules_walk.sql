SELECT seq, facts FROM schedule WHERE seq > :seq ORDER BY seq LIMIT :count_max
