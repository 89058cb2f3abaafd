-- The waiting tasks :seqs stand in line from now on.
UPDATE task SET state = 'available' WHERE seq IN (SELECT value FROM json_each(:seqs))
