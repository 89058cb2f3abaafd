DELETE FROM owner_key WHERE owner = %(owner)s AND id = %(id)s
