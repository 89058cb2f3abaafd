UPDATE owner SET callbacks = :sealed WHERE seq = :first
