"""A curl command that somebody pastes, as a request: what people have at hand when they want a call made later."""

import shlex
from typing import Any, Final

import msgspec

_TAKES: Final = {
    "-X": "method",
    "--request": "method",
    "-H": "header",
    "--header": "header",
    "-d": "data",
    "--data": "data",
    "--data-raw": "data",
    "--data-ascii": "data",
    "--data-binary": "data",
    "--json": "json",
    "-u": "user",
    "--user": "user",
    "-A": "agent",
    "--user-agent": "agent",
    "--url": "url",
}
_IGNORED: Final = frozenset(("-s", "--silent", "-S", "--show-error", "-sS", "-i", "--include", "-v", "--verbose"))
_NATURAL: Final = frozenset(("-L", "--location", "-f", "--fail", "--compressed"))
"""Options that ask for what a task does anyway."""
_LENGTH_MAX: Final = 65_536


class Pasted(msgspec.Struct):
    """The request of a command, and the parts of it that were not taken over."""

    request: dict[str, Any]
    left_out: list[str]


def read_curl(text: str) -> Pasted:
    """The request that a curl command makes. Raises `ValueError` for what is no such command.

    >>> read_curl("curl -X PUT https://a.example/x -H 'X-A: 1' -d '{}'").request
    {'method': 'PUT', 'url': 'https://a.example/x', 'headers': {'X-A': '1'}, 'data': '{}'}
    """
    if len(text) > _LENGTH_MAX:
        raise ValueError("is too long")
    try:
        words = shlex.split(text.replace("\\\r\n", " ").replace("\\\n", " "))
    except ValueError:
        raise ValueError("has a quote that is not closed") from None
    if not words or words[0].rpartition("/")[2] != "curl":
        raise ValueError("does not begin with curl")
    found, left_out = _options(words[1:])
    if "url" not in found:
        raise ValueError("names no URL")
    data = found.get("data", [])
    request: dict[str, Any] = {
        "method": found.get("method", ["POST" if data else "GET"])[0],
        "url": found["url"][0],
    }
    headers = dict(_header(one) for one in found.get("header", []))
    if "agent" in found:
        headers["User-Agent"] = found["agent"][0]
    if headers:
        request["headers"] = headers
    if data:
        request["data"] = "&".join(data)
    if "user" in found:
        name, _, password = found["user"][0].partition(":")
        request["authBasic"] = {"username": name, "password": password}
    return Pasted(request, left_out)


def _options(words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    found: dict[str, list[str]] = {}
    left_out: list[str] = []
    rest = iter(words)
    for word in rest:
        name, has_value, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name in _TAKES:
            what = value if has_value else next(rest, "")
            _take(found, _TAKES[name], what, left_out)
        elif word[:2] in _TAKES and len(word) > 2 and not word.startswith("--"):
            _take(found, _TAKES[word[:2]], word[2:], left_out)
        elif word.startswith("-"):
            if word not in _IGNORED | _NATURAL:
                left_out.append(word)
        else:
            found.setdefault("url", []).append(word)
    return found, left_out


def _take(found: dict[str, list[str]], name: str, value: str, left_out: list[str]) -> None:
    if name == "json":
        found.setdefault("header", []).append("Content-Type: application/json")
        name = "data"
    if name == "data" and value.startswith("@"):
        left_out.append(f"the file {value[1:]}")
    else:
        found.setdefault(name, []).append(value)


def _header(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name.strip(), value.strip()
