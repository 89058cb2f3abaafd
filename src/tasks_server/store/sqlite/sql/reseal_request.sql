UPDATE request SET spec = :sealed WHERE task = :first
