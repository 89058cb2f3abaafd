UPDATE owner SET signing = %(enabled)s WHERE seq = %(owner)s
