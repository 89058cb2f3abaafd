DELETE FROM schedule WHERE owner = :owner
