SELECT count(*) FROM schedule WHERE owner = :owner
