"""Names and addresses of this server: what a Host header may say, and which of them are its own (RFC 9110, 7.2).

A web page can make its own name lead to this machine (DNS rebinding); the browser then sends that name as the Host,
and takes the answers for the page's own. It cannot do so with an address, and not with `localhost`.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

import msgspec

_HOST: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+))(?::(?P<port>[0-9]{0,5}))?"
)
_ORIGIN: Final = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#@]+)", re.IGNORECASE)
_PORT_MAX: Final = 65_535
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
_LENGTH_MAX: Final = 253
ANY: Final = "*"


class Host(msgspec.Struct, frozen=True):
    """A host as it stands in a Host header. `name`: in lower case, without a final dot or brackets; no port is 0."""

    name: str
    port: int = 0


def read_host(text: str) -> Host:
    """The host and port that a header names. Raises `ValueError`.

    >>> read_host("LOCALHOST.:9420"), read_host("[::1]")
    (Host(name='localhost', port=9420), Host(name='::1', port=0))
    """
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError("is no host with an optional port")
    port = int(found["port"] or 0)
    if port > _PORT_MAX:
        raise ValueError(f"has a port above {_PORT_MAX}")
    if found["v6"] is not None:
        return Host(str(ipaddress.IPv6Address(found["v6"])), port)
    return Host(found["name"].lower().removesuffix("."), port)


def read_origin(text: str) -> Host | None:
    """The host of an Origin header, with the port that its scheme implies; None for `null` and what is no web page."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    try:
        host = read_host(found["host"])
    except ValueError:
        return None
    return host if host.port else Host(host.name, 443 if found["scheme"].lower() == "https" else 80)


def allowed_host_fault(text: str) -> str | None:
    """What is wrong with an entry of the setting ALLOWED_HOSTS.

    >>> allowed_host_fault("tasks.example.com"), allowed_host_fault("*.example.com"), allowed_host_fault("10.0.0.7")
    (None, None, None)
    """
    name = text.removeprefix("*.").lower()
    if text == ANY or _address(name.strip("[]")) is not None:
        return None
    if len(name) > _LENGTH_MAX or not all(_LABEL.fullmatch(label) for label in name.removesuffix(".").split(".")):
        return f"{text!r} is no name of a host; write tasks.example.com, *.example.com for all below it, or * for any"
    return None


class KnownHosts:
    """The hosts under which requests without a key are served. `names`: as in ALLOWED_HOSTS, beside the loopback's
    own. `loopback`: only this machine can reach the server; else any address will do, as no page can rebind one.
    """

    def __init__(self, names: Iterable[str] = (), *, loopback: bool = True) -> None:
        given = {name.lower().removesuffix(".").strip("[]") for name in names}
        self.loopback = loopback
        self._any = ANY in given
        self._exact = frozenset(given)
        self._below = tuple(name[1:] for name in given if name.startswith("*."))

    def knows(self, name: str) -> bool:
        """Whether the server goes by this name or address, in the form that `read_host` gives."""
        if self._any or self.lists(name) or name == "localhost" or name.endswith(".localhost"):
            return True
        address = _address(name)
        return address is not None and (not self.loopback or address.is_loopback)

    def lists(self, name: str) -> bool:
        """Whether the operator named it."""
        return name in self._exact or name.endswith(self._below)


LOOPBACK: Final = KnownHosts()
"""Of a server that only its own machine can reach, and that nobody gave a name."""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
