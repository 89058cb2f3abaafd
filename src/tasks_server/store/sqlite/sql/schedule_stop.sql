-- One that cannot be read has no turn until its owner puts it anew.
UPDATE schedule SET look_at = NULL WHERE seq = :seq
