"""The egress policy at the sockets: libcurl asks here for the socket of every new connection, whatever led to it, and
gets none for an address that the policy refuses. What is refused is in `domain.egress`.

libcurl hands over the address that it is about to connect to, after its own parsing and every name lookup; so neither
an odd spelling nor a name that changes its address passes. A connection that is used again was judged when it was
opened. Which name led to an address, libcurl does not say: it is read from the call and the redirects so far.
"""

import re
import socket
from collections.abc import Sequence
from typing import Any, Final

import pycurl

from tasks_server.domain import limits
from tasks_server.domain.addresses import literal
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.egress import Egress
from tasks_server.domain.urls import read_url
from tasks_server.engine.http.errors import STATUS_CODES

_FAMILIES: Final = frozenset({socket.AF_INET, socket.AF_INET6})
_REDIRECTS: Final = range(300, 400)
_ENDS: Final = (b"\r\n", b"\n")
_BLANKS: Final = (b" ", b"\t")
_SCHEME: Final = re.compile(rb"[a-zA-Z][a-zA-Z0-9+.-]*:")
_ABSOLUTE: Final = re.compile(rb"(?:https?:)?//([a-zA-Z0-9._:\[\]-]+)(?=[/?#]|\Z)", re.IGNORECASE)
_RELATIVE: Final = re.compile(rb"/?(?:[!-.0-\[\]-~]|\Z)")


class _Lent(socket.socket):
    """A socket for libcurl, which makes a descriptor of its own of it; this one closes when it is let go."""

    def __del__(self) -> None:
        self.close()


class Gate:
    """Gives one handle its sockets. `headers` is the list that the handle's header lines go to. Where `expected` is
    set (after `begin`), connections go to those addresses only.
    """

    __slots__ = (
        *("_allowed", "_egress", "_headers", "_lines", "_refused"),
        *("expected", "os_errno", "proxy_host", "trusts_names", "url"),
    )

    def __init__(self, egress: Egress, headers: list[bytes]) -> None:
        self._egress = egress
        self._headers = headers
        self.begin("")

    def begin(self, url: str, proxy_host: str | None = None, *, trusts_names: bool = True) -> None:
        """A call begins. `trusts_names`: names are looked up by our own means, not by those of the task's owner."""
        self.url = url
        # A bare IPv6 address goes into brackets, as in URLs.
        self.proxy_host = (
            f"[{proxy_host}]" if proxy_host and ":" in proxy_host and "[" not in proxy_host else proxy_host
        )
        self.trusts_names = trusts_names
        self.expected: frozenset[str] | None = None
        self.os_errno = 0
        self._refused: str | None = None
        self._allowed = False
        self._lines = 0

    @property
    def refusal(self) -> str | None:
        """Why the latest host of the call got no connection; None when some address of it was let through."""
        return None if self._allowed else self._refused

    def open_socket(self, _purpose: int, address: Any) -> Any:
        """For libcurl: a socket for the address, or none. Nothing that goes wrong here lets a connection through."""
        try:
            if self._lines != len(self._headers):  # another host than before: a redirect lies between
                self._lines, self._allowed, self._refused = len(self._headers), False, None
            reason = self._judge(address)
            if reason is not None:
                self._refused = reason
                return pycurl.SOCKET_BAD
            self._allowed = True
            return _Lent(address.family, address.socktype, address.protocol)
        except OSError as error:
            self.os_errno = error.errno or 0
        except Exception as error:
            self._refused = f"the address could not be judged ({type(error).__name__})"
        return pycurl.SOCKET_BAD

    def before_request(self, *_connection: object) -> int:
        """For libcurl, with a proxy: judges each request once more, as one connection serves many hosts there."""
        try:
            self._refused = self._judge_host(current_url(self.url, self._headers))
        except Exception as error:
            self._refused = f"the host could not be judged ({type(error).__name__})"
        self._allowed = self._refused is None
        return int(pycurl.PREREQFUNC_OK if self._allowed else pycurl.PREREQFUNC_ABORT)

    def _judge(self, address: Any) -> str | None:
        """Why this address is refused, in a sentence that names the host, not the address that the host has."""
        if address.family not in _FAMILIES:
            return "the connection would not go to an IP address"
        url = current_url(self.url, self._headers)
        for each in (url, f"http://{self.proxy_host}/") if self.proxy_host else (url,):
            if (reason := self._judge_host(each)) is not None:
                return reason
        host = _host(url) if url is not None else None
        where = self.proxy_host or host
        if self.expected is not None and str(literal(address.addr[0])) not in self.expected:
            return f"{where or 'the target'} was looked up by other servers than its task names"
        refusal = self._egress.refusal(address.addr[0], where if self.trusts_names else None)
        return None if refusal is None else f"{where or 'the target of a redirect'} is {refusal}"

    def _judge_host(self, url: str | None) -> str | None:
        """Why the host of the URL is refused for its name or as an address. None stands for a URL of a redirect that
        is read in more than one way: there names cannot be judged.
        """
        if url is None:
            if self.proxy_host or self._egress.deny.hosts:
                return "a redirect names its host in a way that can be misread"
            return None
        refusal = self._egress.refusal_of_host(host := _host(url))
        return None if refusal is None else f"{host} is {refusal}"


def blocked(reason: str) -> Outcome:
    """The outcome of a call that the policy forbids."""
    error = f"blocked: {reason}"[: limits.ERROR_LENGTH_MAX]
    return Outcome(OutcomeKind.BLOCKED, status_code=STATUS_CODES[OutcomeKind.BLOCKED], error=error)


def refusal_of_url(egress: Egress, url: str) -> str | None:
    """Why a call to this URL may not begin, in a sentence that names the host. A URL that cannot be read is left to
    whoever reads it to be sent.
    """
    try:
        _, target = read_url(url)
    except ValueError:
        return None
    refusal = egress.refusal_of_target(target)
    return None if refusal is None else f"{target.rpartition(':')[0]} is {refusal}"


def current_url(url: str, headers: Sequence[bytes]) -> str | None:
    """A URL of the host that is called after the redirects in these header lines; None where libcurl might read
    another host in them than we do. Targets write these lines: whatever is not plain counts as None.
    """
    status: int | None = None
    chunked, locations = False, set[bytes]()
    for line in headers:
        if status is None:
            if not line.startswith(b"HTTP/"):
                continue  # trailers of the answer before
            if chunked:
                return None  # its trailers could pose as another answer
            status, locations = _status(line), set()
        elif line in _ENDS:
            if locations and status in _REDIRECTS:
                if (following := _followed(url, locations)) is None:
                    return None
                url = following
            status = None
        elif line[:1] in _BLANKS:
            return None  # folded: it may go on with a Location
        elif status in _REDIRECTS:
            name = line.partition(b":")[0].lower()
            if name == b"location":
                locations.add(line[9:].strip(b" \t\r\n"))
            chunked = chunked or name == b"transfer-encoding"
    return url


def _followed(url: str, locations: set[bytes]) -> str | None:
    """Where a redirect leads, as far as the host goes."""
    if len(locations) > 1:
        return None
    location = locations.pop()
    if _SCHEME.match(location) or location.startswith(b"//"):
        absolute = _ABSOLUTE.match(location)
        return f"http://{absolute[1].decode('ascii')}/" if absolute else None
    return url if _RELATIVE.match(location) else None


def _status(line: bytes) -> int:
    parts = line.split(None, 2)
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def _host(url: str) -> str:
    return read_url(url)[1].rpartition(":")[0]
