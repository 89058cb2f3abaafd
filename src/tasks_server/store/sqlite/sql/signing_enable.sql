UPDATE owner SET signing = :enabled WHERE seq = :owner
