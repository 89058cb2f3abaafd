"""A PostgreSQL of the tests' own: started when the first test needs it, gone when the run is over.

`keeper` is the process that holds the servers, `run` finds it or starts it, `databases` lends empty databases.
"""
