"""Turns a call into libcurl options: URL, data, and which options of a handle differ from call to call. The headers
are in `headers`.

Nothing here touches the network. `load` puts a call on a handle and undoes what the call before had changed; it
raises `Unsendable`, or whatever a malformed request makes Python raise, and the caller of it ends the call with that.
"""

import base64
import re
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import pycurl

from tasks_server.domain import limits
from tasks_server.domain.request import BODILESS_METHODS, FormPart, HttpRequest
from tasks_server.domain.urls import read_url
from tasks_server.engine.calls import Call
from tasks_server.engine.http.abilities import lacking
from tasks_server.engine.http.errors import Unsendable
from tasks_server.engine.http.headers import BOUNDARY, render_headers
from tasks_server.engine.http.signature import signature_lines
from tasks_server.engine.http.tls import CIPHERS

_PROTOCOLS: Final = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
_PATH: Final = re.compile(rb"[^:]*+://[^/?]*+(.*)")
_REWRITTEN: Final = re.compile(rb"[^?]*%(?:[a-f]|.[a-f])")
"""A path that holds an escape in small letters, which libcurl would write in capitals."""

_JSON: Final = b"Content-Type: application/json"
_TEXT: Final = b"Content-Type: text/plain; charset=utf-8"
_BINARY: Final = b"Content-Type: application/octet-stream"
_NO_CONTENT_TYPE: Final = b"Content-Type:"


_HTTP_VERSIONS: Final[dict[str, int]] = {
    "0.9": pycurl.CURL_HTTP_VERSION_1_0,
    "1.0": pycurl.CURL_HTTP_VERSION_1_0,
    "1.1": pycurl.CURL_HTTP_VERSION_1_1,
    "2": pycurl.CURL_HTTP_VERSION_2TLS,
    "2-prior-knowledge": pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE,
    "3": pycurl.CURL_HTTP_VERSION_3,
}
_UNSUPPORTED: Final = {"HTTP/2": ("2", "2-prior-knowledge"), "HTTP/3": ("3",)}


def unsupported_http_versions() -> set[str]:
    """The values of `httpVersion` that the installed libcurl cannot speak."""
    return {version for feature in lacking() for version in _UNSUPPORTED.get(feature, ())}


_REFUSED: Final = frozenset(unsupported_http_versions())


def constant_options(*, ca_file: str | None, idle_seconds: int) -> list[tuple[int, Any]]:
    """The options that every handle gets once and no call changes."""
    options: list[tuple[int, Any]] = [
        (pycurl.NOSIGNAL, 1),
        (pycurl.NOPROGRESS, 1),
        (pycurl.PROTOCOLS, _PROTOCOLS),
        (pycurl.FOLLOWLOCATION, 0),  # see `redirects`
        (pycurl.PATH_AS_IS, 1),
        # An attempt has one timeout; libcurl would give up a connection after five minutes.
        (pycurl.CONNECTTIMEOUT_MS, limits.TIMEOUT_MAX_MS),
        # Nothing of the environment or of files: no proxy variables, no .netrc.
        (pycurl.PROXY, ""),
        (pycurl.NOPROXY, ""),
        (pycurl.NETRC, pycurl.NETRC_IGNORED),
        (pycurl.TCP_KEEPALIVE, 1),
        (pycurl.MAXAGE_CONN, idle_seconds),
        (pycurl.SSL_CIPHER_LIST, CIPHERS),
        (pycurl.PROXY_SSL_CIPHER_LIST, CIPHERS),
    ]
    if ca_file is not None:
        options += [(pycurl.CAINFO, ca_file), (pycurl.PROXY_CAINFO, ca_file)]
    return options


Shape = tuple[tuple[int, Any], ...]
Shapes = dict[tuple[str, bool], Shape]


def shapes() -> Shapes:
    """For each method, with or without data, the options that make libcurl send it. Each shape sets all that any of
    them sets, so that one undoes the other.
    """
    return {
        (method, has_body): _shape(method, has_body)
        for method in ("GET", "HEAD", "DELETE", "POST", "PUT", "PATCH", "OPTIONS")
        for has_body in (False, True)
    }


def _shape(method: str, has_body: bool) -> Shape:
    custom, verb = None, pycurl.HTTPGET
    if method == "HEAD":
        verb = pycurl.NOBODY
    elif method == "POST":
        verb = pycurl.POST
    elif method != "GET":
        # With data, to libcurl this is a POST under another name.
        custom, verb = method, pycurl.POST if has_body else pycurl.HTTPGET
    return ((pycurl.CUSTOMREQUEST, custom), (verb, 1))


_LENGTH_ALWAYS: Final = frozenset({"POST", "PUT", "PATCH"})


class Loaded(msgspec.Struct):
    """What a handle holds of the options that differ between calls. A new handle holds none of them."""

    shape: tuple[str, bool] | None = None
    http_version: str | None = None
    timeout_ms: int | None = None
    names_path: bool = False


def load(curl: "pycurl.Curl", loaded: Loaded, call: Call, agent_line: bytes, by_shape: Shapes) -> None:
    """Puts a call on an idle handle. `loaded` is the handle's record; a handle that this failed on is spoilt."""
    request, config = call.request, call.config
    setopt = curl.setopt
    body, lines = render_lines(call, agent_line)
    url, is_rewritten = render_url(request)
    setopt(pycurl.URL, url)
    if is_rewritten or loaded.names_path:
        loaded.names_path = name_path(curl, url, call, loaded.names_path)
    setopt(pycurl.HTTPHEADER, lines)
    shape = (request.method, body is not None)
    if loaded.shape != shape:
        for option, value in by_shape[shape]:
            setopt(option, value)
        loaded.shape = shape
    if body is not None:
        setopt(pycurl.POSTFIELDS, body)
    if loaded.timeout_ms != call.timeout_ms:
        setopt(pycurl.TIMEOUT_MS, call.timeout_ms)
        loaded.timeout_ms = call.timeout_ms
    if loaded.http_version != config.http_version:
        _set_http_version(curl, loaded, config.http_version)


def render_lines(call: Call, agent_line: bytes) -> tuple[bytes | None, list[bytes]]:
    """The bytes to send (None: nothing) and all header lines."""
    body, content_type = render_body(call.request)
    if body is None and call.request.method in _LENGTH_ALWAYS:
        body, content_type = b"", _NO_CONTENT_TYPE
    lines = render_headers(call, agent_line, content_type)
    if call.signing:
        lines += signature_lines(call, body)
    return body, lines


def _set_http_version(curl: "pycurl.Curl", loaded: Loaded, version: str) -> None:
    if version in _REFUSED:
        raise Unsendable(f"this server's HTTP library does not speak HTTP {version}")
    is_09 = 1 if version == "0.9" else 0
    curl.setopt(pycurl.HTTP_VERSION, _HTTP_VERSIONS[version])
    curl.setopt(pycurl.HTTP09_ALLOWED, is_09)
    # libcurl understands an answer of HTTP/0.9 only as the first one of a connection.
    curl.setopt(pycurl.FRESH_CONNECT, is_09)
    loaded.http_version = version


# URL


def render_url(request: HttpRequest) -> tuple[bytes, bool]:
    """The URL to ask for: the query joined to the one that the URL has, the fragment left out. And whether libcurl
    would write its path otherwise.
    """
    url, is_rewritten = _bare_url(request.url)
    if not request.query:
        return url, is_rewritten
    joint = b"?" if b"?" not in url else b"" if url.endswith((b"?", b"&")) else b"&"
    return url + joint + urlencode(request.query).encode("ascii"), is_rewritten


@lru_cache(maxsize=1_024)
def _bare_url(url: str) -> tuple[bytes, bool]:
    try:
        text, _ = read_url(url)
    except ValueError as error:
        raise Unsendable(f"the URL {error}") from None
    bare = text.partition("#")[0].encode("ascii")
    return bare, b"%" in bare and _REWRITTEN.match(_path(bare)) is not None


def name_path(curl: "pycurl.Curl", url: bytes, call: Call, names_path: bool) -> bool:
    """Has the request name the path of its URL as it is, where libcurl would write it otherwise. Whether it does; that
    cannot be undone, so the next request on the handle has to be told, too (`names_path`).

    Where libcurl counts the path into a proof, it stays with what libcurl makes of it.
    """
    request, proxy = call.request, call.config.proxy
    if request.auth_digest is not None or request.auth_aws_sigv4 is not None:
        return False
    path = _path(url)
    if not names_path and _REWRITTEN.match(path) is None:
        return False
    if proxy is not None and proxy.protocol in ("http", "https") and url[:5].lower() == b"http:":
        path = url  # that is what such a proxy is asked for
    elif not path.startswith(b"/"):
        path = b"/" + path
    curl.setopt(pycurl.REQUEST_TARGET, path)
    return True


def _path(url: bytes) -> bytes:
    """The path of a URL without fragment, with its query."""
    found = _PATH.match(url)
    assert found is not None, "it is absolute"
    return found[1]


# Data


def render_body(request: HttpRequest) -> tuple[bytes | None, bytes | None]:
    """The bytes to send and the header line that names their type unless the caller does. None: nothing is sent."""
    data = request.data
    if request.method in BODILESS_METHODS:
        return None, None
    if request.json is not None:
        return request.json, _JSON
    if data is None:
        if request.data_base64 is None:
            return None, None
        return base64.b64decode(request.data_base64, validate=True), _BINARY
    if isinstance(data, str):
        return data.encode(), _TEXT
    return _render_form(data, request.headers)


def _render_form(parts: Sequence[FormPart], headers: dict[str, str] | None) -> tuple[bytes, bytes]:
    """Multipart form data (RFC 7578), values as they are. The caller may bring a type with a boundary of its own."""
    given = next((value for name, value in (headers or {}).items() if name.lower() == "content-type"), "")
    found = BOUNDARY.search(given)
    boundary = ((found[1] or found[2]) if found else f"------------------------{secrets.token_hex(16)}").encode()
    pieces: list[bytes] = []
    for part in parts:
        # As browsers write names: the three characters that would break out of the quotes or the line.
        name = part.name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").encode()
        head = b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n' % (boundary, name)
        pieces += (head, part.value.encode(), b"\r\n")
    pieces.append(b"--%b--\r\n" % boundary)
    return b"".join(pieces), b"Content-Type: multipart/form-data; boundary=" + boundary
