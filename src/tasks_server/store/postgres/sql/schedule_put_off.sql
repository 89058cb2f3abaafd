-- One that only a newer version can read has its turn again in a moment.
UPDATE schedule SET look_at = %(look_at)s::bigint WHERE seq = %(seq)s::bigint
