DELETE FROM bulk WHERE owner = :owner
