-- Tasks of the owner that are neither final nor paused, in order of arrival.
SELECT json_group_array(seq) FROM (
    SELECT seq FROM task INDEXED BY task_ended
    WHERE owner = :owner AND ended_at = 0 AND seq > :after AND seq <= :until
    ORDER BY seq LIMIT :count_max
)
