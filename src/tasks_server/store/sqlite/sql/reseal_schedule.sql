UPDATE schedule SET template = :sealed WHERE seq = :first
