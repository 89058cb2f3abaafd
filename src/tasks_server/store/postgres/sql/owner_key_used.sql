-- Notes that a key was used; never one that was used later.
UPDATE owner_key SET used_at = %(at)s WHERE digest = %(digest)s AND coalesce(used_at, 0) < %(at)s
