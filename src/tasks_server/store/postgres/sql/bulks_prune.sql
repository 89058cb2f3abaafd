-- Work that ended before an instant.
DELETE FROM bulk WHERE seq IN (
    SELECT seq FROM bulk WHERE ended_at > 0 AND ended_at < %(before)s::bigint LIMIT %(count_max)s::bigint
)
