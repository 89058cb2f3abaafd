"""The egress policy at the sockets: libcurl asks here for the socket of every new connection, whatever led to it, and
gets none for an address that the policy refuses. What is refused is in `domain.egress`.

libcurl hands over the address that it is about to connect to, after its own parsing and every name lookup; so neither
an odd spelling nor a name that changes its address passes. A connection that is used again was judged when it was
opened. Which name led to an address, libcurl does not say; but it follows no redirect by itself, so it is that of the
URL it was given.
"""

import os
import socket
from typing import Any, Final

import pycurl

from tasks_server.domain import limits
from tasks_server.domain.addresses import literal
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.egress import Egress
from tasks_server.domain.urls import read_url
from tasks_server.engine.http.errors import STATUS_CODES

_FAMILIES: Final = frozenset({socket.AF_INET, socket.AF_INET6})


class _Lent(socket.socket):
    """A socket for libcurl, which makes a descriptor of its own of it; this one closes when it is let go."""

    def __del__(self) -> None:
        self.close()


class Gate:
    """Gives one handle its sockets. Where `expected` is set (after `begin`), connections go to those addresses only."""

    __slots__ = (
        "_allowed",
        "_egress",
        "_refused",
        "expected",
        "family",
        "os_errno",
        "proxy_host",
        "trusts_names",
        "url",
    )

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self.begin("")

    def begin(self, url: str, proxy_host: str | None = None, *, trusts_names: bool = True) -> None:
        """A request begins. `trusts_names`: names are looked up by our own means, not by those of the task's owner."""
        self.url = url
        # A bare IPv6 address goes into brackets, as in URLs.
        self.proxy_host = (
            f"[{proxy_host}]" if proxy_host and ":" in proxy_host and "[" not in proxy_host else proxy_host
        )
        self.trusts_names = trusts_names
        self.expected: frozenset[str] | None = None
        self.os_errno = 0
        self.family = socket.AF_INET
        self._refused: str | None = None
        self._allowed = False

    @property
    def refusal(self) -> str | None:
        """Why the request got no connection; None when some address was let through."""
        return None if self._allowed else self._refused

    def open_socket(self, _purpose: int, address: Any) -> Any:
        """For libcurl: a socket for the address, or none. Nothing that goes wrong here lets a connection through."""
        try:
            reason = self._judge(address)
            if reason is not None:
                self._refused = reason
                return pycurl.SOCKET_BAD
            self._allowed = True
            self.family = address.family
            lent = _Lent(address.family, address.socktype, address.protocol)
            # libcurl's binding makes a second descriptor of it, and says nothing when there is none left.
            os.close(os.dup(lent.fileno()))
            return lent
        except OSError as error:
            self.os_errno = error.errno or 0
        except Exception as error:
            self._refused = f"the address could not be judged ({type(error).__name__})"
        return pycurl.SOCKET_BAD

    def before_request(self, *_connection: object) -> int:
        """For libcurl, with a proxy: judges each request once more, as one connection serves many hosts there."""
        try:
            self._refused = self._judge_host(self.url)
        except Exception as error:
            self._refused = f"the host could not be judged ({type(error).__name__})"
        self._allowed = self._refused is None
        return int(pycurl.PREREQFUNC_OK if self._allowed else pycurl.PREREQFUNC_ABORT)

    def _judge(self, address: Any) -> str | None:
        """Why this address is refused, in a sentence that names the host, not the address that the host has."""
        if address.family not in _FAMILIES:
            return "the connection would not go to an IP address"
        for each in (self.url, f"http://{self.proxy_host}/") if self.proxy_host else (self.url,):
            if (reason := self._judge_host(each)) is not None:
                return reason
        where = self.proxy_host or _host(self.url)
        if self.expected is not None and str(literal(address.addr[0])) not in self.expected:
            return f"{where} was looked up by other servers than its task names"
        refusal = self._egress.refusal(address.addr[0], where if self.trusts_names else None)
        return None if refusal is None else f"{where} is {refusal}"

    def _judge_host(self, url: str) -> str | None:
        """Why the host of the URL is refused for its name or as an address."""
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


def _host(url: str) -> str:
    return read_url(url)[1].rpartition(":")[0]
