-- Those of the leases in :rows (task, lease) that hold, with what the counters need.
SELECT json_group_array(json_array(t.seq, t.lease, t.owner, t.lane))
FROM json_each(:rows) AS r
CROSS JOIN task AS t ON t.seq = r.value ->> 0
WHERE t.lease = r.value ->> 1
