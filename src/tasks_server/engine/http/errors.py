"""What libcurl's error codes mean to a task: the kind of outcome, and the plain reason its owner reads.

Some codes are said of a request that cannot be sent and of an answer that cannot be read alike. What tells is whether
the request went out, or anything came back: from then on nothing is its fault, and trying again may help.

Every code has its row; a test walks the codes that the installed libcurl has words for and fails on a missing one. How
answers of a target are read is in `responses`.
"""

import errno
from typing import Final
from urllib.parse import urlsplit

import msgspec
import pycurl

from tasks_server.domain import limits
from tasks_server.domain.attempt import NO_ANSWER, PORTS, Outcome, OutcomeKind

_K = OutcomeKind


class Unsendable(Exception):
    """The request cannot be turned into a call. The message is for the task's owner."""


class Failure(msgspec.Struct, frozen=True):
    """How a libcurl error counts. `reason` may name `{host}`; `detailed` adds libcurl's own words. `sent`: how it
    counts when the request had gone out.
    """

    kind: OutcomeKind
    reason: str
    detailed: bool = False
    sent: "Failure | None" = None


STATUS_CODES: Final = {_K.TIMEOUT: 408, _K.CONNECTION: NO_ANSWER, _K.UNSENDABLE: NO_ANSWER, _K.BLOCKED: 403}
"""The status of an outcome that no target gave (contract section 5)."""

_STRANGE: Final = Failure(_K.CONNECTION, "the HTTP library failed over what {host} answered", detailed=True)
_INTERNAL: Final = Failure(_K.CONNECTION, "the HTTP library failed", detailed=True)
_OTHER_PROTOCOL: Final = Failure(_K.CONNECTION, "the HTTP library failed in another protocol", detailed=True)
_NOT_BUILT_IN: Final = Failure(
    _K.UNSENDABLE,
    "this server's HTTP library cannot do this",
    detailed=True,
    sent=Failure(_K.CONNECTION, "{host} asks for what this server's HTTP library cannot do", detailed=True),
)
_MALFORMED: Final = Failure(_K.UNSENDABLE, "the URL is malformed", sent=_STRANGE)
_OWN_TLS: Final = Failure(_K.CONNECTION, "TLS could not be set up on our side", detailed=True)
_TLS: Final = Failure(_K.CONNECTION, "TLS failed with {host}", detailed=True)
_BAD_CERTIFICATE: Final = Failure(_K.CONNECTION, "the certificate of {host} was refused", detailed=True)
_BROKEN: Final = Failure(_K.CONNECTION, "the connection to {host} broke", detailed=True)
_BROKEN_PROTOCOL: Final = Failure(_K.CONNECTION, "{host} broke the HTTP protocol", detailed=True)
_NOT_HTTP: Final = Failure(_K.CONNECTION, "{host} did not answer in HTTP", detailed=True)
_REFUSED: Final = Failure(_K.UNSENDABLE, "the HTTP library refused the request", detailed=True, sent=_STRANGE)
_CERTIFICATE: Final = Failure(_K.UNSENDABLE, "the client certificate cannot be used", detailed=True, sent=_TLS)
_TOO_LONG: Final = Failure(
    _K.UNSENDABLE,
    "a part of the request is too large for the HTTP library",
    sent=Failure(_K.CONNECTION, "{host} sent more or longer header lines than can be taken in"),
)
_ANSWERED_ERROR: Final = Failure(_K.CONNECTION, "{host} answered with an error")

# By the numbers of curl.h, which never change: pycurl has no name for the newest, and old names for some.
FAILURES: Final[dict[int, Failure]] = {
    1: Failure(_K.UNSENDABLE, "the URL is not http or https", sent=_NOT_HTTP),  # UNSUPPORTED_PROTOCOL
    2: _INTERNAL,  # FAILED_INIT
    3: _MALFORMED,  # URL_MALFORMAT
    4: _NOT_BUILT_IN,  # NOT_BUILT_IN
    5: Failure(_K.CONNECTION, "the proxy's name is unknown"),  # COULDNT_RESOLVE_PROXY
    6: Failure(_K.CONNECTION, "unknown host {host}"),  # COULDNT_RESOLVE_HOST
    7: Failure(_K.CONNECTION, "no connection to {host}"),  # COULDNT_CONNECT
    8: _NOT_HTTP,  # WEIRD_SERVER_REPLY
    9: Failure(_K.CONNECTION, "{host} denied the access"),  # REMOTE_ACCESS_DENIED
    16: _BROKEN_PROTOCOL,  # HTTP2
    18: Failure(_K.CONNECTION, "{host} closed the connection in the middle of its answer"),  # PARTIAL_FILE
    22: _ANSWERED_ERROR,  # HTTP_RETURNED_ERROR
    23: Failure(_K.CONNECTION, "the answer could not be taken in"),  # WRITE_ERROR
    24: _MALFORMED,  # MALFORMAT_USER
    26: Failure(_K.CONNECTION, "the request's data could not be read"),  # READ_ERROR
    27: Failure(_K.CONNECTION, "the server is out of memory"),  # OUT_OF_MEMORY
    28: Failure(_K.TIMEOUT, "no answer"),  # OPERATION_TIMEDOUT; see `failed`
    33: _BROKEN_PROTOCOL,  # RANGE_ERROR
    34: _INTERNAL,  # HTTP_POST_ERROR
    35: _TLS,  # SSL_CONNECT_ERROR
    40: _NOT_BUILT_IN,  # LIBRARY_NOT_FOUND
    41: _NOT_BUILT_IN,  # FUNCTION_NOT_FOUND
    42: _INTERNAL,  # ABORTED_BY_CALLBACK
    43: _REFUSED,  # BAD_FUNCTION_ARGUMENT
    44: _INTERNAL,  # BAD_CALLING_ORDER
    45: Failure(_K.CONNECTION, "no connection to {host}: the local address cannot be used"),  # INTERFACE_FAILED
    46: _INTERNAL,  # BAD_PASSWORD_ENTERED
    47: Failure(_K.CONNECTION, "too many redirects"),  # TOO_MANY_REDIRECTS
    48: _NOT_BUILT_IN,  # UNKNOWN_OPTION
    52: Failure(_K.CONNECTION, "{host} closed the connection without an answer"),  # GOT_NOTHING
    53: _OWN_TLS,  # SSL_ENGINE_NOTFOUND
    54: _OWN_TLS,  # SSL_ENGINE_SETFAILED
    55: _BROKEN,  # SEND_ERROR
    56: _BROKEN,  # RECV_ERROR
    57: _INTERNAL,  # SHARE_IN_USE
    58: _CERTIFICATE,  # SSL_CERTPROBLEM
    59: _OWN_TLS,  # SSL_CIPHER
    60: _BAD_CERTIFICATE,  # PEER_FAILED_VERIFICATION
    61: Failure(_K.CONNECTION, "{host} sent an answer in an unknown coding", detailed=True),  # BAD_CONTENT_ENCODING
    63: _INTERNAL,  # FILESIZE_EXCEEDED: libcurl is told no size
    64: _OWN_TLS,  # USE_SSL_FAILED
    65: Failure(_K.CONNECTION, "the request's data could not be sent a second time"),  # SEND_FAIL_REWIND
    66: _OWN_TLS,  # SSL_ENGINE_INITFAILED
    67: Failure(_K.CONNECTION, "{host} refused the credentials"),  # LOGIN_DENIED
    75: _INTERNAL,  # CONV_FAILED
    76: _INTERNAL,  # CONV_REQD
    77: _OWN_TLS,  # SSL_CACERT_BADFILE
    80: _TLS,  # SSL_SHUTDOWN_FAILED
    81: _INTERNAL,  # AGAIN
    82: _OWN_TLS,  # SSL_CRL_BADFILE
    83: _BAD_CERTIFICATE,  # SSL_ISSUER_ERROR
    89: Failure(_K.CONNECTION, "no connection to {host}: too many are open"),  # NO_CONNECTION_AVAILABLE
    90: _BAD_CERTIFICATE,  # SSL_PINNEDPUBKEYNOTMATCH
    91: _BAD_CERTIFICATE,  # SSL_INVALIDCERTSTATUS
    92: _BROKEN_PROTOCOL,  # HTTP2_STREAM
    93: _INTERNAL,  # RECURSIVE_API_CALL
    94: Failure(_K.CONNECTION, "authentication failed at {host}", detailed=True),  # AUTH_ERROR
    95: _BROKEN_PROTOCOL,  # HTTP3
    96: Failure(_K.CONNECTION, "no HTTP/3 connection to {host}", detailed=True),  # QUIC_CONNECT_ERROR
    97: Failure(_K.CONNECTION, "the proxy failed", detailed=True),  # PROXY
    98: Failure(_K.CONNECTION, "{host} asks for a client certificate", detailed=True),  # SSL_CLIENTCERT
    99: _INTERNAL,  # UNRECOVERABLE_POLL
    100: _TOO_LONG,  # TOO_LARGE
    101: _TLS,  # ECH_REQUIRED
    # Codes of FTP, TFTP, LDAP, RTSP, SSH and files, which no task can ask for: a fault of ours or of the library.
    **dict.fromkeys((*range(10, 16), 17, *range(19, 22), 25, *range(29, 33), *range(36, 40)), _OTHER_PROTOCOL),
    **dict.fromkeys((49, 62, *range(68, 75), 78, 79, *range(84, 89)), _OTHER_PROTOCOL),
}
_UNKNOWN: Final = Failure(_K.CONNECTION, "the HTTP library failed", detailed=True)

_TIMER_SLACK_MS: Final = 100
"""So much earlier than it should a timer of libcurl's may fire, at the very most."""
_TUNNEL_REFUSED: Final = ("CONNECT tunnel failed", "Received HTTP code", "Proxy CONNECT aborted")
_CONNECT_REASONS: Final = {
    errno.ECONNREFUSED: "connection refused by {host}",
    errno.ECONNRESET: "connection reset by {host}",
    errno.EHOSTUNREACH: "no route to {host}",
    errno.ENETUNREACH: "no route to {host}",
    errno.ETIMEDOUT: "no answer from {host} to the attempt to connect",
    errno.EADDRNOTAVAIL: "no connection to {host}: this machine has no address for it",
}
_LACKING: Final = {
    errno.EMFILE: "file descriptors of the process",
    errno.ENFILE: "file descriptors of the machine",
    errno.EADDRNOTAVAIL: PORTS,
    errno.ENOBUFS: "network buffers",
    errno.ENOMEM: "memory",
}
"""What is our own trouble, whatever was to be called."""
_OUT_OF_MEMORY: Final = 27
NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
OPENS_FILES: Final = frozenset({2, 5, 6, 7, 77})
"""What fails when no file can be opened: to begin, to look a name up, to connect, to read the authorities."""


class Circumstances(msgspec.Struct):
    """What was known when a transfer failed."""

    url: str
    message: str
    os_errno: int
    redirects: int
    redirects_max: int
    timeout_ms: int
    elapsed_ms: int
    sent: bool
    """Whether any of the request went out."""
    heard: bool
    """Whether any line came back: before the request is sent, that of a proxy."""
    by_ipv4: bool = True
    """Whether the last socket was for IPv4. A machine without IPv6 says EADDRNOTAVAIL of any other address."""
    proxy: str = ""
    """`host:port` of the proxy between, if any."""


def failed(code: int, about: Circumstances) -> Outcome:
    """The outcome of a transfer that libcurl gave up with `code`."""
    if code == pycurl.E_OPERATION_TIMEDOUT and about.elapsed_ms + _TIMER_SLACK_MS < about.timeout_ms:
        # libcurl says so of a connection, too, that the system has given up.
        code = pycurl.E_COULDNT_CONNECT
    lacking = _lacking(code, about)
    if lacking is not None:
        return Outcome(_K.INTERRUPTED, error=f"given back: the server has run out of {lacking}", lacking=lacking)
    failure = FAILURES.get(code, _UNKNOWN)
    if (about.sent or about.heard) and failure.sent is not None:
        failure = failure.sent
    kind = failure.kind
    reason = _reason(code, failure, about)
    if kind is _K.UNSENDABLE and about.redirects:
        # The request itself was fine: the target sent us somewhere we cannot go, and may mend that.
        kind, reason = _K.CONNECTION, f"a redirect could not be followed: {reason}"
    return Outcome(kind, status_code=STATUS_CODES[kind], error=reason[: limits.ERROR_LENGTH_MAX])


def _lacking(code: int, about: Circumstances) -> str | None:
    """What this machine lacked, if the call failed for that before anything of it was sent."""
    if about.sent:
        return None
    if code == _OUT_OF_MEMORY and about.os_errno == errno.ENOMEM:  # libcurl says so for other reasons, too
        return _LACKING[errno.ENOMEM]
    if code in OPENS_FILES and about.os_errno in NO_FILES:
        return _LACKING[about.os_errno]
    if code != pycurl.E_COULDNT_CONNECT or (about.os_errno == errno.EADDRNOTAVAIL and not about.by_ipv4):
        return None
    return _LACKING.get(about.os_errno)


def unsendable(reason: str) -> Outcome:
    """The outcome of a call that was never made, because it cannot be."""
    error = f"the request cannot be sent: {reason}"
    return Outcome(_K.UNSENDABLE, status_code=STATUS_CODES[_K.UNSENDABLE], error=error[: limits.ERROR_LENGTH_MAX])


def _reason(code: int, failure: Failure, about: Circumstances) -> str:
    if failure.kind is _K.TIMEOUT:
        return f"no answer from {_host(about.url)} within {about.timeout_ms} ms"
    if code == pycurl.E_TOO_MANY_REDIRECTS:
        return f"more than {about.redirects_max} redirects"
    reason = failure.reason
    if about.proxy and about.message.startswith(_TUNNEL_REFUSED):
        return f"the proxy {about.proxy} refused to connect to {_host(about.url)}: {about.message}"
    if code == pycurl.E_COULDNT_CONNECT:
        reason = _CONNECT_REASONS.get(about.os_errno, reason)
        if about.proxy:
            return reason.replace("{host}", f"the proxy {about.proxy}")
    from_proxy = about.proxy and about.heard and not about.sent
    reason = reason.replace("{host}", f"the proxy {about.proxy}" if from_proxy else _host(about.url))
    return f"{reason}: {about.message}" if failure.detailed and about.message else reason


def _host(url: str) -> str:
    """`host:port` of a URL; never more of it, because the rest may hold secrets."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "the target"
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
