"""`/docs`: a page of our own to read and try the API, and the way to a page from `/`. No build step, nothing loaded
from elsewhere.
"""

from importlib.resources import files
from typing import Final

from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.routes import Handler, Route, Success

_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = ((b"content-security-policy", _POLICY), (b"cache-control", b"no-cache"))
_FILES: Final = {
    "/docs": ("docs.html", b"text/html; charset=utf-8"),
    "/docs/docs.css": ("docs.css", b"text/css; charset=utf-8"),
    "/docs/docs.js": ("docs.js", b"text/javascript; charset=utf-8"),
}


def docs_routes() -> list[Route]:
    """The page and its parts."""
    return [
        Route("GET", path, _file(name, kind), f"Read {path}", "none", [Success(200, None, "A file")], hidden=True)
        for path, (name, kind) in _FILES.items()
    ]


def front_route(path: str) -> Route:
    """From `/` to the first page."""

    async def go(_: Exchange) -> Answer:
        return Answer(307, b"", b"text/plain; charset=utf-8", ((b"location", path.encode()),))

    moved = Success(307, None, "To the first page")
    return Route("GET", "/", go, "Go to the first page", "none", [moved], hidden=True)


def _file(name: str, content_type: bytes) -> Handler:
    content = files("tasks_server.api").joinpath("static", name).read_bytes()

    async def serve(_: Exchange) -> Answer:
        return Answer(200, content, content_type, _HEADERS)

    return serve
