SELECT coalesce((SELECT facts FROM clock WHERE one = 1), '{}')
