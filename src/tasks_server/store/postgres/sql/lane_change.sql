UPDATE lane
SET concurrent_max = %(concurrent_max)s, rate = %(rate)s, burst = %(burst)s, paused_at = %(paused_at)s,
    paused_by = %(paused_by)s, 
    callbacks = CASE WHEN %(callbacks_stay)s::boolean THEN callbacks ELSE %(callbacks)s::bytea END, deleted_at = NULL
WHERE seq = %(seq)s
