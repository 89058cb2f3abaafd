"""The schema of the PostgreSQL adapter, as numbered steps forward."""
