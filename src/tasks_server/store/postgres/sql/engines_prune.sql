DELETE FROM engine WHERE seen_at < %(before)s
