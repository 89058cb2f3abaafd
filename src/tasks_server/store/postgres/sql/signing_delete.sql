DELETE FROM signing_secret WHERE owner = %(owner)s
