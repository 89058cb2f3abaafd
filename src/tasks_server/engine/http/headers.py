"""Renders the header lines of a call: our defaults, the caller's in their place, and those that only we set."""

import re
from functools import lru_cache
from typing import Final

from tasks_server.domain import rules
from tasks_server.domain.signing import HEADER_PREFIX
from tasks_server.engine.calls import Call
from tasks_server.engine.http.errors import Unsendable

_NO_EXPECT: Final = b"Expect:"
_REFUSED: Final = rules.HEADERS_REFUSED | {"expect"}
_REFUSED_PREFIXES: Final = ("x-tasks-", "proxy-")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_NAME: Final = re.compile(r"[!-9;-~]+")
BOUNDARY: Final = re.compile(r"""boundary=(?:"([^"]{1,70})"|([!-:<-~]{1,70}))""", re.IGNORECASE)
"""Where a multipart type names its boundary."""


def render_headers(call: Call, agent_line: bytes, content_type: bytes | None) -> list[bytes]:
    """All header lines in libcurl's form. The caller's replace our defaults; those of `call.headers` stand."""
    agent = call.config.user_agent
    has_body = content_type is not None
    lines = [agent_line if agent is None else header_line("User-Agent", agent)]
    ours = [header_line(name, value) for name, value in call.headers]
    theirs = call.request.headers
    if theirs:
        given = _their_lines(theirs, call)
        if agent is not None:
            given.pop("user-agent", None)
        elif "user-agent" in given:
            lines.clear()
        named = given.get("content-type")
        if named is not None:
            if content_type is not None and content_type.startswith(b"Content-Type: multipart/form-data"):
                given["content-type"] = _with_boundary(named, content_type)
            content_type = None
        lines.extend(given.values())
    if content_type is not None:
        lines.append(content_type)
    if has_body:
        lines.append(_NO_EXPECT)
    lines.extend(ours)
    return lines


def _their_lines(theirs: dict[str, str], call: Call) -> dict[str, bytes]:
    """The caller's header lines by lower-case name, without those that we set."""
    lines = {}
    for name, value in theirs.items():
        lower = _header_name(name)[0]
        if lower in _REFUSED or lower.startswith(_REFUSED_PREFIXES):
            raise Unsendable(f"the header {name[:64]} cannot be set")
        lines[lower] = header_line(name, value)
    for name, _ in call.headers:
        lines.pop(_header_name(name)[0], None)
    if call.signing:
        for name in [name for name in lines if name.startswith(HEADER_PREFIX)]:
            del lines[name]
    return lines


def header_line(name: str, value: str) -> bytes:
    """One header as libcurl wants it. Raises `Unsendable` for what would end the line or the header."""
    _, prefix = _header_name(name)
    # Everything printable is free of control characters; the rest is looked at more closely.
    if not value.isprintable() and _CONTROL.search(value):
        raise Unsendable(f"the header {name} holds a control character")
    if not value or value.isspace():
        # libcurl takes "Name:" for "do not send it"; this is its form for an empty value.
        return f"{name};".encode()
    return prefix + value.encode()


@lru_cache(maxsize=1_024)
def _header_name(name: str) -> tuple[str, bytes]:
    """The name in lower case, and the beginning of its line."""
    if not _HEADER_NAME.fullmatch(name):
        raise Unsendable("a header's name holds a character that no header name may hold")
    return name.lower(), f"{name}: ".encode()


def _with_boundary(given: bytes, ours: bytes) -> bytes:
    """The caller's multipart type with our boundary, when it has none; any other type as the caller wrote it."""
    is_multipart = given.partition(b":")[2].strip().lower().startswith(b"multipart/")
    if not is_multipart or BOUNDARY.search(given.decode("utf-8")):
        return given
    return given.rstrip(b"; ") + b"; boundary=" + ours.partition(b"boundary=")[2]
