UPDATE signing_secret SET secret = :sealed WHERE owner = :first AND id = :name
