DELETE FROM request WHERE task IN (SELECT value FROM json_each(:seqs))
