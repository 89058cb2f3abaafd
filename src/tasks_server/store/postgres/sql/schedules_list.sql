SELECT facts FROM schedule WHERE id > %(after)s ORDER BY id LIMIT %(count_max)s
