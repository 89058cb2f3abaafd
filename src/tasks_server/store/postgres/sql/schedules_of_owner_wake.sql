-- All schedules of an owner that are not paused have their turn by now.
UPDATE schedule SET look_at = least(look_at, %(now)s) WHERE owner = %(owner)s AND look_at IS NOT NULL
