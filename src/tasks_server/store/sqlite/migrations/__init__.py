"""The schema of the SQLite adapter, as numbered steps forward."""
