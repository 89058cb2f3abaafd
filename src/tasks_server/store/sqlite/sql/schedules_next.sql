SELECT min(look_at) FROM schedule INDEXED BY schedule_look WHERE look_at IS NOT NULL
