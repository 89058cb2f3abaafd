-- How many tasks of the lanes :lanes are in each state.
SELECT lane, state, n FROM counter WHERE lane IN (SELECT value FROM json_each(:lanes))
