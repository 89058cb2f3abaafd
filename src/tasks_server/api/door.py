"""Who is let in without a key: nobody who was led here by a web page of somebody else, or by a proxy.

What needs a key is not looked at here, but for the form of its Host: a page has no key to send.
"""

from collections.abc import Mapping
from typing import Final

from tasks_server.api.exchange import Exchange
from tasks_server.domain.errors import Fault, Forbidden, InvalidRequest
from tasks_server.domain.own_hosts import Host, KnownHosts, read_host, read_origin
from tasks_server.domain.shapes import shown

_FORWARDED: Final = frozenset(
    b"forwarded via x-real-ip x-client-ip x-cluster-client-ip true-client-ip cf-connecting-ip cf-ray "
    b"fastly-client-ip x-envoy-external-address x-amzn-trace-id".split()
)
_FORWARDED_PREFIX: Final = b"x-forwarded"
_REMEMBERED_MAX: Final = 1_024
_NO_HOST: Final = b""
_HTTP_1_0: Final = ("1", "1.0")
_SAME_SITE: Final = (b"same-origin", b"none")


class Door:
    """Looks at each request before anything else is done with it."""

    def __init__(self, hosts: KnownHosts) -> None:
        self._hosts = hosts
        self._seen: dict[bytes, Host] = {}

    def look(self, exchange: Exchange) -> None:
        """Raises `InvalidRequest` unless there is one valid Host (RFC 9112, 3.2). What was seen once is not read again:
        this is done for every request.
        """
        headers = exchange.headers
        if len(headers) != len(exchange.scope["headers"]):
            named = sum(name == b"host" for name, _ in exchange.scope["headers"])
            if named > 1:
                raise _host_invalid(f"is there {named} times; a request has one Host")
        if headers.get(b"host", _NO_HOST) not in self._seen:
            self._read(headers.get(b"host", _NO_HOST), exchange.scope["http_version"])

    def admit(self, exchange: Exchange, *, any_host: bool = False) -> None:
        """For what is done without a key. Raises `Forbidden` for a Host that this server does not go by, unless
        `any_host` and others than this machine can reach it anyway, and for what a page of another site sent.
        """
        host = self._seen.get(exchange.headers.get(b"host", _NO_HOST))
        if host is None:
            host = self._read(exchange.headers.get(b"host", _NO_HOST), exchange.scope["http_version"])
        if host is not None and not (self._hosts.knows(host.name) or (any_host and not self._hosts.loopback)):
            raise Forbidden(
                f"without a key, this server does not answer at {shown(host.name)}: a page could have made that name "
                "lead here. Ask at its address, or send a key; the operator may add the name to ALLOWED_HOSTS",
                code="host_unknown",
            )
        if self._is_of_another_site(exchange, host):
            raise Forbidden("a page of another site sent this, without a key", code="cross_site")

    def forwarded(self, exchange: Exchange) -> str | None:
        """By what a request shows that a proxy passed it on; None: by nothing. HTTP/1.0 is spoken by proxies alone."""
        for name in exchange.headers:
            if name in _FORWARDED or name.startswith(_FORWARDED_PREFIX):
                return name.decode("latin-1")
        return "HTTP/1.0" if exchange.scope["http_version"] in _HTTP_1_0 else None

    def _read(self, text: bytes, version: str) -> Host | None:
        """None: no Host, which HTTP/1.0 has no need of, and no browser leaves out."""
        if not text and version in _HTTP_1_0:
            return None
        if not text:
            raise _host_invalid("is missing")
        try:
            host = read_host(text.decode("latin-1"))
        except ValueError as error:
            raise _host_invalid(str(error), shown(text.decode("latin-1"))) from None
        if len(self._seen) >= _REMEMBERED_MAX:
            self._seen.clear()
        self._seen[text] = host
        return host

    def _is_of_another_site(self, exchange: Exchange, host: Host | None) -> bool:
        """By what browsers say of it. A link that somebody follows is none: the page that has it sees no answer."""
        headers = exchange.headers
        site = headers.get(b"sec-fetch-site")
        if site is not None:
            return site not in _SAME_SITE and not _is_followed_link(exchange.scope["method"], headers)
        origin = headers.get(b"origin")
        if origin is None:
            return False
        sender = read_origin(origin.decode("latin-1"))
        if sender is None or host is None:
            return True
        # A proxy that ends TLS leaves both without a port, or both with the same.
        same = sender.name == host.name and sender.port in ((host.port,) if host.port else (80, 443))
        return not same and not self._hosts.lists(sender.name)


def _is_followed_link(method: str, headers: Mapping[bytes, bytes]) -> bool:
    return (
        method in ("GET", "HEAD")
        and headers.get(b"sec-fetch-mode") == b"navigate"
        and headers.get(b"sec-fetch-dest") == b"document"
    )


def _host_invalid(text: str, given: object = None) -> InvalidRequest:
    return InvalidRequest([Fault("host", text, given, "a host, with a port or without")], code="host_invalid")
