-- Bulk work whose turn lies further ahead than turns do, because the clock was set back, has its turn now.
UPDATE bulk SET look_at = %(now)s::bigint WHERE ended_at = 0 AND look_at > %(ahead)s::bigint
