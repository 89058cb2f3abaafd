UPDATE note SET sealed = :sealed WHERE task = :first AND number = :second
