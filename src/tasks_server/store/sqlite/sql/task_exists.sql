SELECT EXISTS (
    SELECT 1 FROM task AS t CROSS JOIN owner AS o ON o.seq = t.owner
    WHERE t.id = :id AND (:owner IS NULL OR o.id = :owner)
)
