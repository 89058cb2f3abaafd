"""Moves all that one database holds to another one, of the same kind or not."""
