-- Tasks of the owner in one of the states that have an index for themselves, in order of arrival.
SELECT json_group_array(seq) FROM (
    SELECT seq FROM task INDEXED BY task_stopped
    WHERE state IN ('paused', 'failed', 'revoked') AND owner = :owner AND state = :state
        AND seq > :after AND seq <= :until
    ORDER BY seq LIMIT :count_max
)
