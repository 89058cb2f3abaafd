-- What the keys in :keys (owner, key) were used for, as far as that is still remembered at :now.
SELECT json_group_array(json_array(i.owner, i.key, hex(i.digest), i.task))
FROM json_each(:keys) k
JOIN idempotency i ON i.owner = k.value ->> 0 AND i.key = k.value ->> 1
WHERE i.expires_at > :now
