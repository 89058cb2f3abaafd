INSERT INTO lane_bucket (lane, full_at) VALUES (%(lane)s, %(full_at)s)
