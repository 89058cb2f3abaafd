DELETE FROM lane_bucket WHERE lane = %(seq)s
