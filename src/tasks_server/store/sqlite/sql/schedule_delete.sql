DELETE FROM schedule WHERE seq = :seq
