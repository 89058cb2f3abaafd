UPDATE lane SET callbacks = :sealed WHERE seq = :first
