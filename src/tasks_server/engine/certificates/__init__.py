"""Certificates and keys that tasks bring: where they may lie, what is in them, and who opens them."""
