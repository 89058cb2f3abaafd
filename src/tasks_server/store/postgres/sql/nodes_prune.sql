DELETE FROM node WHERE seen_at < %(before)s
