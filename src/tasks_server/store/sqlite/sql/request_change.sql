UPDATE request SET spec = :spec WHERE task = :task
