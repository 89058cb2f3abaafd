-- Final tasks that are older than their owner wants them kept, or whose owner is deleted.
SELECT json_group_array(json_array(seq, lane, state)) FROM (
    SELECT t.seq, t.lane, t.state
    FROM owner AS o
    CROSS JOIN task AS t INDEXED BY task_ended
        ON t.owner = o.seq AND t.ended_at > 0
        AND t.ended_at < iif(
            o.deleted_at IS NULL, :now - coalesce(o.retention_ms, :retention_ms), 9223372036854775807
        )
    WHERE t.state IN ('completed', 'failed', 'revoked')
    LIMIT :count_max
)
