"""One file for each statement of the SQLite adapter."""
