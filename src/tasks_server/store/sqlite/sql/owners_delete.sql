DELETE FROM owner WHERE seq IN (SELECT value FROM json_each(:owners))
