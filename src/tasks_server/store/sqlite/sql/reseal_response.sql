UPDATE attempt SET response = :sealed WHERE task = :first AND number = :second
