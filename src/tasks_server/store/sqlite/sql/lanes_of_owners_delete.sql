DELETE FROM lane WHERE owner IN (SELECT value FROM json_each(:owners))
