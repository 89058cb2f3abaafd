-- Work that ended before :before.
DELETE FROM bulk
WHERE seq IN (SELECT seq FROM bulk INDEXED BY bulk_ended WHERE ended_at > 0 AND ended_at < :before LIMIT :count_max)
