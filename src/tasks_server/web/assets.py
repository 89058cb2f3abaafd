"""Style sheets, scripts and pictures of the pages: from the wheel, under a path that names their content, so that a
browser keeps them for ever and never mixes versions.
"""

import hashlib
from importlib.resources import files
from typing import Final

from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.routes import Handler, Route, Success

ROOT: Final = "/ui/assets"
_TYPES: Final = {
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
_NAMES: Final = ("icon.svg", "theme.js", "ui.css", "ui.js")
_FOR_EVER: Final = ((b"cache-control", b"public, max-age=31536000, immutable"),)


def _content(name: str) -> bytes:
    return files("tasks_server.web").joinpath("static", name).read_bytes()


def _version() -> str:
    """Twelve digits that change with any of the files."""
    digest = hashlib.sha256()
    for name in _NAMES:
        digest.update(_content(name))
    return digest.hexdigest()[:12]


class Assets:
    """The files, and where they lie."""

    def __init__(self) -> None:
        self._base = f"{ROOT}/{_version()}"

    def path(self, name: str) -> str:
        """Where a file is served."""
        assert name in _NAMES
        return f"{self._base}/{name}"

    def routes(self) -> list[Route]:
        return [
            Route("GET", self.path(name), _file(name), f"Read {name}", "none", [Success(200, None, name)], hidden=True)
            for name in _NAMES
        ]


def _file(name: str) -> Handler:
    answer = Answer(200, _content(name), _TYPES[name.rpartition(".")[2]], _FOR_EVER)

    async def serve(_: Exchange) -> Answer:
        return answer

    return serve
