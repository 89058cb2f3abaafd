-- All tasks of the owner, in order of arrival.
SELECT json_group_array(seq) FROM (
    SELECT seq FROM task INDEXED BY task_owner
    WHERE owner = :owner AND seq > :after AND seq <= :until
    ORDER BY seq LIMIT :count_max
)
