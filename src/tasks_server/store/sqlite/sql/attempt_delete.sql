DELETE FROM attempt WHERE task IN (SELECT value FROM json_each(:seqs))
