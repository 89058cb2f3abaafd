SELECT min(look_at) FROM bulk WHERE ended_at = 0
