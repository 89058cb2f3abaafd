UPDATE attempt SET facts = :sealed WHERE task = :first AND number = :second
