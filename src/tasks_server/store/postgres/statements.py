"""The SQL statements by name, read once from their files. A name is the file's, without the ending."""

from functools import cache
from importlib import resources


@cache
def sql(name: str) -> bytes:
    """The text of the statement in `sql/<name>.sql`. Raises `FileNotFoundError` for a name that does not exist."""
    return resources.files("tasks_server.store.postgres.sql").joinpath(f"{name}.sql").read_bytes()
