SELECT seq FROM lane WHERE owner = %(owner)s AND name = %(name)s
