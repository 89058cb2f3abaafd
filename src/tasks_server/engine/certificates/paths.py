"""Where the certificates and keys lie that tasks name by path: below one folder, whatever links and `..` say.

Asked when a task is registered and again when it is sent; no library of the engine is needed for it.
"""

from pathlib import Path
from typing import Final

FILE_MAX_BYTES: Final = 1_048_576


def file_below(directory: Path, text: str) -> Path:
    """The file of this name below the folder. Raises `FileNotFoundError` for anything else: nobody learns what exists
    elsewhere.
    """
    try:
        root = directory.resolve(strict=True)
        # What links and `..` really lead to must lie below the folder.
        path = (root / text).resolve(strict=True)
        if path.is_relative_to(root) and path.is_file() and path.stat().st_size <= FILE_MAX_BYTES:
            return path
    except (OSError, ValueError, RuntimeError):
        pass
    raise FileNotFoundError(text)


def path_fault(directory: Path | None, text: str) -> str | None:
    """What is wrong with this path of a certificate or key, to follow "and"; None when its file is there."""
    if directory is None:
        return "this server has no CERTIFICATES_DIR for paths"
    try:
        file_below(directory, text)
    except FileNotFoundError:
        return "no file below CERTIFICATES_DIR has this path"
    return None
