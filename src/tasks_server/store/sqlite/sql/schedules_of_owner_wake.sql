-- All schedules of an owner that are not paused have their turn by now.
UPDATE schedule SET look_at = min(look_at, :now) WHERE owner = :owner AND look_at IS NOT NULL
