DELETE FROM note WHERE task IN (SELECT value FROM json_each(:seqs))
