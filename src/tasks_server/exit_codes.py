"""What the exit status of `tasks-server` tells. Scripts and service managers may rely on it."""

from typing import Final

from tasks_server.domain.errors import HandlersFailed, InvalidRequest, SettingsError, StoreError, TasksServerError

OK: Final = 0
"""Done; a server: stopped as it was asked to, everything in order."""
REFUSED: Final = 1
"""Well understood, but refused or failed: no such task, name taken, a process that keeps dying."""
USAGE: Final = 2
"""The command line, a setting, or a field of the task is wrong."""
STORE: Final = 3
"""The store cannot be used: not there, not to be reached, read-only, disk full, damaged, sealed under another key, in
need of `db upgrade`, made by a newer version."""
LISTEN: Final = 4
"""The address cannot be listened on, most likely because the port is in use."""
HANDLERS: Final = 5
"""The modules with handlers cannot be imported, or register none."""
INTERRUPTED: Final = 130
"""Cut off by a second Ctrl-C."""
TERMINATED: Final = 143
"""Cut off by a second SIGTERM."""


class CannotListen(TasksServerError):
    """The address is in use, not ours, or not allowed to us."""

    code = "cannot_listen"


def of(error: BaseException) -> int:
    """The exit status for an error that ends a command."""
    if isinstance(error, SettingsError | InvalidRequest):
        return USAGE
    if isinstance(error, StoreError):
        return STORE
    if isinstance(error, CannotListen):
        return LISTEN
    if isinstance(error, HandlersFailed):
        return HANDLERS
    return REFUSED
