-- The groups of available tasks that came after `seq`, with a place in their order before all of these. They are found
-- by primary key, hence the odd condition: the partial index holds all those that are gone, too.
SELECT owner, lane, urgency, target, min(due_at), 0::bigint
FROM task WHERE seq > %(seq)s AND state || '' = 'available'
GROUP BY owner, lane, urgency, target
