-- Whether any lane has limits or is paused.
SELECT EXISTS (
    SELECT 1 FROM lane INDEXED BY lane_limited
    WHERE concurrent_max IS NOT NULL OR rate IS NOT NULL OR paused_at IS NOT NULL
)
