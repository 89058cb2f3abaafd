"""Turns a call into libcurl options: URL, data, and which options of a handle differ from call to call. The headers
are in `headers`.

Nothing here touches the network. `load` puts a call on a handle and undoes what the call before had changed; it
raises `Unsendable`, or whatever a malformed request makes Python raise, and the caller of it ends the call with that.
"""

import base64
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import pycurl

from tasks_server.domain.request import BODILESS_METHODS, FormPart, HttpRequest, TaskConfig
from tasks_server.domain.urls import read_url
from tasks_server.engine.calls import Call
from tasks_server.engine.http.abilities import lacking
from tasks_server.engine.http.errors import Unsendable
from tasks_server.engine.http.headers import BOUNDARY, render_headers
from tasks_server.engine.http.signature import signature_lines
from tasks_server.engine.http.tls import CIPHERS

_PROTOCOLS: Final = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
# Values of FOLLOWLOCATION that pycurl has no names for: with OBEYCODE the method of a redirected request follows
# the status (303, and 301 or 302 after POST, become GET) even when it was set by CUSTOMREQUEST.
_FOLLOW_NOT: Final = 0
_FOLLOW_OBEYCODE: Final = 2

_JSON: Final = b"Content-Type: application/json"
_TEXT: Final = b"Content-Type: text/plain; charset=utf-8"
_BINARY: Final = b"Content-Type: application/octet-stream"
_NO_CONTENT_TYPE: Final = b"Content-Type:"


_encode_json: Final = msgspec.json.Encoder().encode

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
        (pycurl.REDIR_PROTOCOLS, _PROTOCOLS),
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


def shapes(response_max_bytes: int) -> Shapes:
    """For each method, with or without data, the options that make libcurl send it. Each shape sets all that any of
    them sets, so that one undoes the other.
    """
    return {
        (method, has_body): _shape(method, has_body, response_max_bytes)
        for method in ("GET", "HEAD", "DELETE", "POST", "PUT", "PATCH", "OPTIONS")
        for has_body in (False, True)
    }


def _shape(method: str, has_body: bool, response_max_bytes: int) -> Shape:
    keep_post, custom, verb = 0, None, pycurl.HTTPGET
    if method == "HEAD":
        verb = pycurl.NOBODY
    elif method == "POST":
        verb = pycurl.POST
    elif method != "GET":
        custom = method
        if has_body:
            # To libcurl this is a POST under another name; 301 and 302 turn only a true POST into GET.
            verb, keep_post = pycurl.POST, pycurl.REDIR_POST_301 | pycurl.REDIR_POST_302
    # libcurl refuses a Content-Length above the cap and stops reading a body that grows past it. It would refuse
    # what HEAD announces, too.
    cap = 0 if method == "HEAD" else response_max_bytes
    return (
        (pycurl.MAXFILESIZE_LARGE, cap), (pycurl.POSTREDIR, keep_post), (pycurl.CUSTOMREQUEST, custom), (verb, 1),
    )  # fmt: skip


_LENGTH_ALWAYS: Final = frozenset({"POST", "PUT", "PATCH"})


class Loaded(msgspec.Struct):
    """What a handle holds of the options that differ between calls. A new handle holds none of them."""

    shape: tuple[str, bool] | None = None
    http_version: str | None = None
    following: tuple[int, int, int] | None = None
    timeout_ms: int | None = None


def load(curl: "pycurl.Curl", loaded: Loaded, call: Call, agent_line: bytes, by_shape: Shapes) -> None:
    """Puts a call on an idle handle. `loaded` is the handle's record; a handle that this failed on is spoilt."""
    request, config = call.request, call.config
    setopt = curl.setopt
    body, lines = render_lines(call, agent_line)
    setopt(pycurl.URL, render_url(request))
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
    following = _following(request, config)
    if loaded.following != following:
        setopt(pycurl.FOLLOWLOCATION, following[0])
        setopt(pycurl.MAXREDIRS, following[1])
        setopt(pycurl.AUTOREFERER, following[2])
        loaded.following = following


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


def _following(request: HttpRequest, config: TaskConfig) -> tuple[int, int, int]:
    if not config.location or not config.redirect_attempts:
        return (_FOLLOW_NOT, 0, 0)
    return (_FOLLOW_OBEYCODE, config.redirect_attempts, 1 if request.transport == "curl" else 0)


# URL


def render_url(request: HttpRequest) -> bytes:
    """The URL to ask for: the query joined to the one that the URL has, the fragment left out."""
    url = _bare_url(request.url)
    if not request.query:
        return url
    joint = b"?" if b"?" not in url else b"" if url.endswith((b"?", b"&")) else b"&"
    return url + joint + urlencode(request.query).encode("ascii")


@lru_cache(maxsize=1_024)
def _bare_url(url: str) -> bytes:
    try:
        text, _ = read_url(url)
    except ValueError as error:
        raise Unsendable(f"the URL {error}") from None
    return text.partition("#")[0].encode("ascii")


# Data


def render_body(request: HttpRequest) -> tuple[bytes | None, bytes | None]:
    """The bytes to send and the header line that names their type unless the caller does. None: nothing is sent."""
    data = request.data
    if (data is None and request.data_base64 is None) or request.method in BODILESS_METHODS:
        return None, None
    if data is None:
        assert request.data_base64 is not None
        return base64.b64decode(request.data_base64, validate=True), _BINARY
    if isinstance(data, dict):
        return _encode_json(data), _JSON
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
