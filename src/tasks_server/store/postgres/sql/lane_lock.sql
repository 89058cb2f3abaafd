-- Who changes a lane, or takes from it within its limits, is alone with it.
SELECT FROM lane WHERE seq = %(seq)s FOR NO KEY UPDATE
