DELETE FROM event WHERE task IN (SELECT value FROM json_each(:seqs))
