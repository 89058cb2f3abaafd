SELECT seq, 0, id, '', iif(error GLOB 'sealed:*', unhex(substr(error, 8)), NULL) FROM task
WHERE seq > :first ORDER BY seq LIMIT :count_max
