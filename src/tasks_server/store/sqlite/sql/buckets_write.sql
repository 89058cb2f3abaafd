-- When the buckets in :rows (lane, full_at) are full again.
INSERT INTO lane_bucket (lane, full_at) SELECT value ->> 0, value ->> 1 FROM json_each(:rows) WHERE true
ON CONFLICT (lane) DO UPDATE SET full_at = excluded.full_at
