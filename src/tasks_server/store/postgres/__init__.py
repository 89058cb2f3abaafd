"""The PostgreSQL adapter: many processes on many machines, one database."""
