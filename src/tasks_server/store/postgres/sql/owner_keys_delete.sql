DELETE FROM owner_key WHERE owner = %(owner)s
