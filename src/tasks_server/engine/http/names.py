"""Names that are looked up at the servers of a task instead of the system's: which ones a request needs, and how their
addresses are told to libcurl, which has no DNS client of its own. The asking itself is in `lookups`, which is imported
when the first such task runs.
"""

import importlib
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import msgspec

from tasks_server.domain.addresses import literal
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.egress import Egress
from tasks_server.domain.options import ANY_HOST
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.urls import read_url
from tasks_server.engine.calls import Call, Done
from tasks_server.engine.http.egress import blocked
from tasks_server.engine.http.errors import STATUS_CODES, unsendable
from tasks_server.engine.http.proxy import bracketed, proxy_host

if TYPE_CHECKING:
    from tasks_server.engine.http.lookups import Lookups

_Item = TypeVar("_Item")
DNS_PORT: Final = 53
_HTTPS_PORT: Final = 443
_LOCAL: Final = ("socks4", "socks5")
"""Proxies that want the target's address, not its name."""

Addresses = dict[str, tuple[str, ...]]
"""The addresses of names."""


class Servers(msgspec.Struct, frozen=True):
    """Who is asked, and for which kind of address: equal where the answers are interchangeable."""

    dns: tuple[str, ...]
    doh_url: str | None
    doh_insecure: bool
    ca: str | None
    ip_version: Literal[4, 6] | None

    @property
    def is_system(self) -> bool:
        """Whether the system is asked."""
        return not self.dns and self.doh_url is None


class Wanted(msgspec.Struct, frozen=True):
    """A name that a request needs, and the ports it is called at. `is_next`: connections go to it, not through it."""

    name: str
    ports: frozenset[int]
    is_next: bool


def servers_of(config: TaskConfig) -> Servers | None:
    """The task's own servers, or the system where it is asked by us: for a proxy that is told the target's address,
    which the egress policy has to judge. None: libcurl asks the system, and the gate judges what it connects to.
    """
    is_told = config.proxy is not None and config.proxy.protocol in _LOCAL
    if config.dns_server is None and config.doh_url is None and not is_told:
        return None
    ca = config.ca if config.doh_url is not None else None
    return Servers(tuple(config.dns_server or ()), config.doh_url, config.doh_insecure, ca, config.ip_version)


def wanted_names(config: TaskConfig, url: str) -> list[Wanted]:
    """The names that libcurl would look up for a request to `url`."""
    found = []
    proxy = config.proxy
    if proxy is not None:
        found.append(_wanted(config, proxy_host(proxy), is_next=True))
    if proxy is None or proxy.protocol in _LOCAL:
        is_upgradable = bool(config.hsts) and url[:5].lower() == "http:"
        found.append(_wanted(config, read_url(url)[1], is_next=proxy is None, or_https=is_upgradable))
    return [one for one in found if one is not None]


def _wanted(config: TaskConfig, target: str, *, is_next: bool, or_https: bool = False) -> Wanted | None:
    host, _, port = target.rpartition(":")
    name = _plain(host)
    # libcurl knows the addresses of localhost by itself.
    if literal(host) is not None or name == "localhost" or name.endswith(".localhost"):
        return None
    ports = {int(port), _HTTPS_PORT} if or_https else {int(port)}
    ports -= {entry.port for entry in config.resolve or () if _plain(entry.host) in (name, ANY_HOST)}
    return Wanted(name, frozenset(ports), is_next) if ports else None


def _plain(host: str) -> str:
    return host.rstrip(".").lower()


def resolve_lines(wanted: Iterable[Wanted], addresses: Addresses) -> list[str]:
    """The answers as libcurl's RESOLVE wants them: to be forgotten after DNS_CACHE_TIMEOUT, as any answer is."""
    return [
        f"+{name}:{port}:{','.join(map(bracketed, addresses[one.name]))}"
        for one in wanted
        for port in sorted(one.ports)
        for name in (one.name, f"{one.name}.")
    ]


def expected_addresses(config: TaskConfig, wanted: Iterable[Wanted], addresses: Addresses) -> frozenset[str] | None:
    """The only addresses that connections may go to: those that were looked up, and those that the task gives. None:
    whatever libcurl finds, as it looks up no name.
    """
    nexts = [address for one in wanted if one.is_next for address in addresses[one.name]]
    if not nexts:
        return None
    given = [address for entry in config.resolve or () for address in entry.address]
    return frozenset(str(literal(address)) for address in (*nexts, *given))


class LookedUp(msgspec.Struct, frozen=True):
    """How a look-up ended: with the addresses, or with the outcome of the call that wanted them."""

    token: int
    wanted: list[Wanted]
    addresses: Addresses
    failure: Outcome | None = None
    by_system: bool = False
    """Whether the system said so, which the operator trusts."""


def unknown(reason: str) -> Outcome:
    """The outcome of a call whose host has no address."""
    return Outcome(OutcomeKind.CONNECTION, status_code=STATUS_CODES[OutcomeKind.CONNECTION], error=reason)


class Names:
    """Has names looked up for calls, on a thread that starts with the first. `wake` is called when there is news.

    All methods are for the thread of the transfers, but for the last few.
    """

    def __init__(
        self, *, egress: Egress, wake: Callable[[], None], monotonic: Callable[[], float], port: int = DNS_PORT
    ) -> None:
        self._egress = egress
        self._wake = wake
        self._monotonic = monotonic
        self._port = port
        self._lookups: Lookups | None = None
        # Begun while dnspython is loaded, which takes a moment, on a thread of its own.
        self._held: list[tuple[int, Servers, list[Wanted], float]] = []
        self._loader: threading.Thread | None = None
        self._is_loaded = False
        self._news: deque[LookedUp] = deque()
        self._calls: deque[Call] = deque()
        self._dropped: deque[int] = deque()
        self._tokens = itertools.count(-1, -1)

    @property
    def is_used(self) -> bool:
        """Whether any call ever needed this."""
        return self._loader is not None

    def begin(self, token: int, servers: Servers, wanted: list[Wanted], seconds: float) -> None:
        """Starts to look up names for a call; `take_news` tells the end."""
        refusal = next((f"{one} is {why}" for one in servers.dns if (why := self._egress.refusal(one))), None)
        if self._loader is None:
            self._loader = threading.Thread(target=self._load, name="loading", daemon=True)
            self._loader.start()
        if refusal is not None:
            self.tell(LookedUp(token, wanted, {}, blocked(f"the DNS server {refusal}")))
        elif self._lookups is not None:
            self._lookups.begin(token, servers, wanted, seconds)
        else:
            self._held.append((token, servers, wanted, seconds))

    def forget(self, token: int) -> None:
        """The call of this token has ended; nothing is told of it any more, or what is told is ignored."""
        if self._lookups is not None:
            self._lookups.forget(token)
        self._held = [one for one in self._held if one[0] != token]

    def take_news(self) -> list[LookedUp]:
        if self._held and self._is_loaded:
            self._begin_held()
        return [self._judged(one) for one in _drained(self._news)]

    def _judged(self, found: LookedUp) -> LookedUp:
        """Without the addresses that no proxy may be told of; those that we connect to, the gate judges."""
        for one in found.wanted:
            if one.is_next or found.failure is not None:
                continue
            trusted = one.name if found.by_system else None
            reasons = {address: self._egress.refusal(address, trusted) for address in found.addresses[one.name]}
            fit = tuple(address for address, reason in reasons.items() if reason is None)
            if not fit:
                reason = next(filter(None, reasons.values()), "without an address")
                return LookedUp(found.token, found.wanted, {}, blocked(f"{one.name} is {reason}"))
            found.addresses[one.name] = fit
        return found

    def _begin_held(self) -> None:
        held, self._held = self._held, []
        try:
            from tasks_server.engine.http.lookups import Lookups

            self._lookups = Lookups(self, self._monotonic, self._port)
        except Exception as error:  # whatever goes wrong ends these calls alone
            failure = unsendable(f"looking up its names failed with {type(error).__name__}")
            self._news.extend(LookedUp(token, wanted, {}, failure) for token, _, wanted, _ in held)
            return
        for one in held:
            self._lookups.begin(*one)

    def _load(self) -> None:
        try:
            importlib.import_module("tasks_server.engine.http.lookups")
        finally:  # should it not load, that is found out where it is wanted
            self._is_loaded = True
            self._wake()

    def take_calls(self) -> list[Call]:
        """Calls of our own (DNS over HTTPS), with tokens below zero, to be made like those of tasks."""
        return _drained(self._calls)

    def take_dropped(self) -> list[int]:
        """Calls of our own that nobody waits for any more."""
        return _drained(self._dropped)

    def keep_own(self, ended: list[Done]) -> list[Done]:
        """Takes the ends of our own calls out of these; the others."""
        others = []
        for done in ended:
            if done.token > 0:
                others.append(done)
            elif self._lookups is not None:
                self._lookups.answered(done)
        return others

    def close(self) -> None:
        """Ends the thread; what it had is forgotten."""
        if self._loader is not None:
            self._loader.join()
        if self._lookups is not None:
            self._lookups.close()
            self._lookups = None

    # For the other thread

    def new_token(self) -> int:
        return next(self._tokens)

    def tell(self, looked_up: LookedUp) -> None:
        self._news.append(looked_up)
        self._wake()

    def send(self, call: Call) -> None:
        self._calls.append(call)
        self._wake()

    def drop(self, token: int) -> None:
        self._dropped.append(token)
        self._wake()


def _drained(queue: deque[_Item]) -> list[_Item]:
    items = []
    while queue:
        items.append(queue.popleft())
    return items
