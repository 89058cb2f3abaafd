"""Looks names up at the servers of tasks: DNS by UDP and TCP on an asyncio loop of its own, DNS over HTTPS through the
transfers, so that those calls pass the same egress gate as any other. dnspython reads and writes the messages.

Answers are kept as long as they allow, apart for each set of servers.
"""

import asyncio
import base64
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdatatype
import dns.resolver

from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.request import HttpRequest, TaskConfig
from tasks_server.engine.calls import Call, Done
from tasks_server.engine.http.errors import unsendable
from tasks_server.engine.http.names import LookedUp, Names, Servers, Wanted, unknown
from tasks_server.engine.http.options import unsupported_http_versions

_CACHED_NAMES: Final = 1_024
_CACHED_SECONDS_MAX: Final = 300
_LOOKUP_SECONDS_MAX: Final = 15.0
"""After this long without an answer, trying the whole task again later is better."""
_TRY_SECONDS: Final = 2.0
_SYSTEM_SECONDS: Final = 60.0
"""For how long libcurl, too, keeps what the system says."""
_ALIASES_MAX: Final = 8
_ADDRESSES_MAX: Final = 16
_MESSAGE_TYPE: Final = "application/dns-message"
_DOH_VERSION: Final = "1.1" if "2" in unsupported_http_versions() else "2"

_Found = tuple[tuple[str, ...], float]
"""Addresses and for how many seconds they hold."""


class _NotFound(Exception):
    """The name has no address, for the reason in the message or with the outcome of the call that asked for it."""

    def __init__(self, reason: str, outcome: Outcome | None = None) -> None:
        super().__init__(reason)
        self.outcome = outcome or unknown(reason)


class _DohFailed(OSError):
    """A server of DNS over HTTPS gave no answer. dnspython takes an `OSError` for the end of a server."""

    def __init__(self, reason: str, outcome: Outcome | None = None) -> None:
        super().__init__(reason)
        self.outcome = outcome


class Lookups:
    """A thread that looks up names for `names`. Its port for plain DNS is `port`; `monotonic` is in seconds."""

    def __init__(self, names: Names, monotonic: Callable[[], float], port: int) -> None:
        self._names = names
        self._monotonic = monotonic
        self._port = port
        self._cache: OrderedDict[tuple[Servers, str], tuple[tuple[str, ...], float]] = OrderedDict()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._asked: dict[int, asyncio.Future[Outcome]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="names", daemon=True)
        self._thread.start()

    # For the thread of the transfers

    def begin(self, token: int, servers: Servers, wanted: list[Wanted], seconds: float) -> None:
        self._loop.call_soon_threadsafe(self._start, token, servers, wanted, seconds)

    def forget(self, token: int) -> None:
        self._loop.call_soon_threadsafe(self._cancel, token)

    def answered(self, done: Done) -> None:
        self._loop.call_soon_threadsafe(self._take_answer, done)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    # On the thread

    def _run(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            left = list(self._tasks.values())
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def _start(self, token: int, servers: Servers, wanted: list[Wanted], seconds: float) -> None:
        task = self._loop.create_task(self._look_up(token, servers, wanted, seconds))
        self._tasks[token] = task
        task.add_done_callback(lambda _: self._tasks.get(token) is task and self._tasks.pop(token))

    def _cancel(self, token: int) -> None:
        if (task := self._tasks.get(token)) is not None:
            task.cancel()

    def _take_answer(self, done: Done) -> None:
        future = self._asked.pop(done.token, None)
        if future is not None and not future.done():
            future.set_result(done.outcome)

    async def _look_up(self, token: int, servers: Servers, wanted: list[Wanted], seconds: float) -> None:
        addresses, failure = {}, None
        try:
            for one in wanted:
                addresses[one.name] = await self._addresses(servers, one.name, min(seconds, _LOOKUP_SECONDS_MAX))
        except _NotFound as error:
            failure = error.outcome
        except Exception as error:  # whatever goes wrong ends that call alone
            failure = unsendable(f"looking up its names failed with {type(error).__name__}")
        self._names.tell(LookedUp(token, wanted, addresses, failure, servers.is_system))

    async def _addresses(self, servers: Servers, name: str, seconds: float) -> tuple[str, ...]:
        key = (servers, name)
        addresses, until = self._cache.get(key, ((), 0.0))
        if addresses and self._monotonic() < until:
            self._cache.move_to_end(key)
            return addresses
        addresses, holds = await self._ask_both(servers, name, seconds)
        if holds > 0:
            self._cache[key] = (addresses, self._monotonic() + min(holds, _CACHED_SECONDS_MAX))
            if len(self._cache) > _CACHED_NAMES:
                self._cache.popitem(last=False)
        else:
            self._cache.pop(key, None)
        return addresses

    async def _ask_both(self, servers: Servers, name: str, seconds: float) -> _Found:
        """The addresses of the versions of IP that are wanted; an answer for one of them is enough."""
        if servers.is_system:
            return await self._ask_system(servers, name, seconds)
        kinds = {4: ("A",), 6: ("AAAA",), None: ("AAAA", "A")}[servers.ip_version]
        asked = [self._ask(servers, name, kind, seconds) for kind in kinds]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found = [answer for answer in answers if isinstance(answer, tuple) and answer[0]]
        if found:
            together = tuple(address for addresses, _ in found for address in addresses)
            return together[:_ADDRESSES_MAX], min(holds for _, holds in found)
        failed = next((answer for answer in answers if isinstance(answer, BaseException)), None)
        if failed is not None:
            raise failed
        which = "" if servers.ip_version is None else f"IPv{servers.ip_version} "
        raise _NotFound(f"unknown host {name}: it has no {which}address")

    async def _ask_system(self, servers: Servers, name: str, seconds: float) -> _Found:
        """The same from the system, which does not say for how long it holds."""
        family = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}[servers.ip_version]
        try:
            async with asyncio.timeout(seconds):
                found = await self._loop.getaddrinfo(name, None, family=family, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise _NotFound(f"{name} could not be looked up: no answer from the system") from None
        except (OSError, UnicodeError):
            raise _NotFound(f"unknown host {name}") from None
        addresses = dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found)
        return tuple(addresses)[:_ADDRESSES_MAX], _SYSTEM_SECONDS

    async def _ask(self, servers: Servers, name: str, kind: str, seconds: float) -> _Found:
        resolver = self._resolver(servers, seconds)
        until, holds = self._loop.time() + seconds, float(_CACHED_SECONDS_MAX)
        try:
            present = dns.name.from_text(name)
            for _ in range(_ALIASES_MAX):
                left = max(until - self._loop.time(), 0.001)
                answer = await resolver.resolve(
                    present, kind, raise_on_no_answer=False, search=False, lifetime=left, backend=_backend()
                )
                holds = min(holds, answer.chaining_result.minimum_ttl)
                if answer.rrset is not None:
                    return tuple(record.to_text() for record in answer.rrset), holds
                if answer.canonical_name == present:
                    return (), holds
                present = answer.canonical_name
        except dns.resolver.NXDOMAIN:
            raise _NotFound(f"unknown host {name}") from None
        except dns.resolver.NoNameservers as error:
            raise _given_up(name, error.kwargs.get("errors", [])) from None
        except dns.exception.Timeout:
            raise _NotFound(f"{name} could not be looked up: no answer from the DNS servers") from None
        except dns.exception.DNSException as error:
            raise _NotFound(f"{name} could not be looked up: {type(error).__name__}") from None
        raise _NotFound(f"{name} could not be looked up: it is an alias of too many others")

    def _resolver(self, servers: Servers, seconds: float) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.port = self._port
        if servers.doh_url is not None:
            resolver.nameservers = [_Doh(self, servers)]
            resolver.timeout = seconds
        else:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(one, self._port) for one in servers.dns]
            resolver.timeout = min(_TRY_SECONDS, seconds / len(servers.dns))
        return resolver

    async def post(self, servers: Servers, message: bytes, seconds: float) -> Outcome:
        """Posts a message to the server of DNS over HTTPS, as a call of this server's own; what came of it."""
        assert servers.doh_url is not None
        config = TaskConfig(http_version=_DOH_VERSION, location=False, insecure=servers.doh_insecure, ca=servers.ca)
        request = HttpRequest(
            servers.doh_url,
            "POST",
            headers={"Content-Type": _MESSAGE_TYPE, "Accept": _MESSAGE_TYPE},
            data_base64=base64.b64encode(message).decode(),
        )
        token = self._names.new_token()
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._asked[token] = future
        special = servers.doh_insecure or servers.ca is not None
        self._names.send(Call(token, request, config, (), 0, max(1, int(seconds * 1_000)), special=special))
        try:
            return await future
        finally:
            if self._asked.pop(token, None) is not None:
                self._names.drop(token)


class _Doh(dns.nameserver.Nameserver):
    """A server of DNS over HTTPS, as dnspython wants it."""

    def __init__(self, lookups: Lookups, servers: Servers) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # dnspython has no annotation there
        self._lookups = lookups
        self._servers = servers

    def __str__(self) -> str:
        return "DNS over HTTPS"

    def kind(self) -> str:
        return "DoH"

    def is_always_max_size(self) -> bool:
        return True

    def answer_nameserver(self) -> str:
        return "DNS over HTTPS"

    def answer_port(self) -> int:
        return 443

    async def async_query(self, request: dns.message.QueryMessage, timeout: float, *_: Any, **__: Any) -> Any:
        request.id = 0  # RFC 8484, 4.1: so that caches know it again
        outcome = await self._lookups.post(self._servers, request.to_wire(), timeout)
        if outcome.kind is not OutcomeKind.SUCCESS:
            raise _DohFailed(outcome.error or "no answer", outcome)
        try:
            message = dns.message.from_wire(outcome.response or b"")
        except dns.exception.DNSException:
            raise _DohFailed("it did not answer in DNS") from None
        if outcome.status_code != 200 or not request.is_response(message):
            raise _DohFailed("it did not answer what it was asked")
        return message


def _given_up(name: str, errors: list[Any]) -> _NotFound:
    """Why no server gave an answer; `errors` are dnspython's, the cause is the fourth of each."""
    cause = errors[-1][3] if errors else "no server is left"
    if isinstance(cause, _DohFailed):
        if cause.outcome is not None and cause.outcome.kind is OutcomeKind.BLOCKED:
            return _NotFound("", cause.outcome)
        return _NotFound(f"{name} could not be looked up by DNS over HTTPS: {cause}")
    if isinstance(cause, str):
        return _NotFound(f"{name} could not be looked up: the DNS server answered {cause}")
    if isinstance(cause, OSError):
        return _NotFound(f"{name} could not be looked up: no connection to the DNS server")
    return _NotFound(f"{name} could not be looked up: the DNS server answered in no known way")


def _backend() -> Any:
    return dns.asyncbackend.get_backend("asyncio")
