DELETE FROM schedule_run WHERE task IN (SELECT value FROM json_each(:seqs))
