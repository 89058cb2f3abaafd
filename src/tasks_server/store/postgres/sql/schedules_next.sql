SELECT min(look_at) FROM schedule WHERE look_at IS NOT NULL
