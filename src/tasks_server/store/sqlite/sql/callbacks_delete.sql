DELETE FROM callback WHERE task IN (SELECT value FROM json_each(:seqs))
