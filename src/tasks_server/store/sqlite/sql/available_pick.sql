-- The oldest :count_max due tasks of each group in :groups (owner, lane, urgency, target), an array for each.
SELECT json_group_array(json(seqs)) FROM (
    SELECT (
        SELECT json_group_array(seq) FROM (
            SELECT t.seq FROM task AS t INDEXED BY task_available
            WHERE t.state = 'available' AND t.owner = g.value ->> 0 AND t.lane = g.value ->> 1
                AND t.urgency = g.value ->> 2 AND t.target = g.value ->> 3
            ORDER BY t.due_at LIMIT :count_max
        )
    ) AS seqs
    FROM json_each(:groups) AS g
)
