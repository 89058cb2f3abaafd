DELETE FROM owner_key WHERE owner = :owner AND id = :id
