"""Texts that are sealed in a column of text, so that what versions before wrote there in clear can still be read."""

from typing import Final

from tasks_server.store.sealing import Sealer, error_context

_MARK: Final = "sealed:"
"""Statements that look for sealed texts know it, too."""


def sealed_error(error: str | None, task_id: str, sealer: Sealer) -> str | None:
    """The last error of a task as it is stored: what a handler raised may tell anything."""
    return None if error is None else _MARK + sealer.seal(error.encode(), error_context(task_id)).hex()


def opened_error(stored: str | None, task_id: str, sealer: Sealer) -> tuple[str | None, str | None]:
    """The last error of a task; None, and why, where it cannot be read."""
    if stored is None or not stored.startswith(_MARK):
        return stored, None
    try:
        sealed = bytes.fromhex(stored.removeprefix(_MARK))
    except ValueError:
        sealed = b""
    opened, told = sealer.look(sealed, error_context(task_id))
    return (None if told else opened.decode(errors="replace")), told
