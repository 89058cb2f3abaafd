-- Deleted owners that have no tasks left.
SELECT json_group_array(seq) FROM (
    SELECT seq FROM owner
    WHERE deleted_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM task WHERE task.owner = owner.seq)
    LIMIT :count_max
)
