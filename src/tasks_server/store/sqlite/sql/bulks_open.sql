SELECT count(*) FROM bulk WHERE owner = :owner AND ended_at = 0
