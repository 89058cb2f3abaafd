"""Where a redirect leads: its Location, read against the URL that was called. Sans I/O.

A path goes on as it came, as that of the task's URL does: only what begins a relative one (`../x`) is resolved.
"""

import base64
import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import msgspec
import pycurl

from tasks_server.domain.urls import read_url
from tasks_server.engine.http.conversation import Answer, Broken

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
"""The statuses that lead elsewhere. Others below 400 are the answer, whatever Location they bring."""
_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_PARTS: Final = re.compile(r"([^:]*:)//([^/?#]*)([^?#]*)(.*)", re.DOTALL)
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))


class Place(msgspec.Struct, frozen=True):
    """Where a redirect leads: an absolute URL without fragment and credentials, and the header line of the latter."""

    url: str
    authorization: bytes | None = None


def location(answer: Answer) -> Place | None:
    """Where the answer redirects to. None: it is no redirect.

    Raises `Broken` for a place that cannot be called.
    """
    values = answer.values(b"location") if answer.status in REDIRECTS and not answer.broken else []
    if not values or not values[0]:
        return None
    text = quote(values[0], safe=_PRINTABLE).partition("#")[0]
    scheme = _SCHEME.match(text)
    if scheme is not None and scheme[1].lower() not in ("http", "https"):
        raise Broken(pycurl.E_UNSUPPORTED_PROTOCOL, f'Protocol "{scheme[1][:32]}" not supported', following=True)
    parts = _PARTS.fullmatch(text if scheme is not None else resolved(answer.url, text))
    try:
        if parts is None or "\\" in parts[2]:
            raise ValueError("can be read in two ways")
        userinfo, _, host = parts[2].rpartition("@")
        return Place(read_url(f"{parts[1]}//{host}{parts[3]}{parts[4]}")[0], _authorization(userinfo))
    except ValueError:
        raise Broken(pycurl.E_URL_MALFORMAT, following=True) from None


def resolved(base: str, reference: str) -> str:
    """The URL that a relative reference means where `base`, an absolute URL, was called.

    >>> resolved("http://a.test/b/c?d", "../e/../f?g"), resolved("http://a.test", "/%2e%2e/x")
    ('http://a.test/e/../f?g', 'http://a.test/%2e%2e/x')
    """
    parts = _PARTS.fullmatch(base.partition("#")[0])
    assert parts is not None, "it is absolute"
    scheme, host, path, query = parts.groups()
    if reference.startswith("//"):
        return scheme + reference
    origin = f"{scheme}//{host}"
    if reference.startswith("/"):
        return origin + reference
    if not reference or reference.startswith("?"):
        return f"{origin}{path}{reference or query}"
    folder = path.rpartition("/")[0] + "/"
    rest, mark, query = reference.partition("?")
    while rest.startswith(("./", "../")) or rest in (".", ".."):
        step, _, rest = rest.partition("/")
        if step == "..":
            folder = folder[:-1].rpartition("/")[0] + "/"
    return f"{origin}{folder}{rest}{mark}{query}"


def _authorization(userinfo: str) -> bytes | None:
    """Credentials of a URL as the header line of Basic authentication."""
    user, _, password = userinfo.partition(":")
    if not userinfo.strip(":"):
        return None
    return b"Authorization: Basic " + base64.b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password))
