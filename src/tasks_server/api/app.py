"""The ASGI application: routing, who asks, what goes wrong, and the headers that every answer has."""

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Final, Literal

import msgspec
from starlette.routing import Route as RouterRoute
from starlette.routing import Router

from tasks_server.api.admin_keys import AdminKeys
from tasks_server.api.audit_routes import AuditRoutes
from tasks_server.api.auth import Authenticator, Caller
from tasks_server.api.bulk_routes import BulkRoutes
from tasks_server.api.callback_routes import CallbackRoutes
from tasks_server.api.docs import docs_routes, front_route
from tasks_server.api.door import Door
from tasks_server.api.exchange import Answer, Exchange, Receive, Scope, Send, request_ids, send_answer
from tasks_server.api.explain_routes import ExplainRoutes
from tasks_server.api.inflow import Inflow
from tasks_server.api.lane_routes import LaneRoutes
from tasks_server.api.log_routes import LogRoutes
from tasks_server.api.monitor_routes import HEALTH, MonitorRoutes
from tasks_server.api.named_routes import NamedRoutes
from tasks_server.api.openapi import openapi
from tasks_server.api.owner_routes import OwnerRoutes, Registration
from tasks_server.api.parts import Parts
from tasks_server.api.probe_routes import PROBES, Stopping, probe_routes
from tasks_server.api.problems import MethodNotAllowed, problem
from tasks_server.api.routes import Route, Success
from tasks_server.api.schedule_routes import ScheduleRoutes
from tasks_server.api.signing_routes import SigningRoutes
from tasks_server.api.task_routes import TaskRoutes
from tasks_server.api.throttle import Throttle
from tasks_server.clock import Clock
from tasks_server.domain import limits
from tasks_server.domain.abilities import ALL, Abilities
from tasks_server.domain.egress import OPEN, Egress
from tasks_server.domain.errors import (
    Busy,
    Forbidden,
    NotFound,
    RequestError,
    StoreError,
    Unauthorized,
    Unavailable,
    Unreadable,
)
from tasks_server.domain.own_hosts import LOOPBACK, KnownHosts
from tasks_server.service.acting import acting
from tasks_server.service.audit import AuditService
from tasks_server.service.bulks import BulkService
from tasks_server.service.callbacks import CallbackService
from tasks_server.service.explain import ExplainService
from tasks_server.service.ground import Examiner, Ground
from tasks_server.service.journal import JournalService
from tasks_server.service.key_uses import KeyUses
from tasks_server.service.lanes import LaneService
from tasks_server.service.monitoring import MonitorService
from tasks_server.service.named import NamedService
from tasks_server.service.owners import OwnerService
from tasks_server.service.schedules import ScheduleService
from tasks_server.service.tasks import TaskService
from tasks_server.store.ports import Store
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import RequestServed, StoredUnreadable, Unexpected

_UNCOUNTED: Final = (*PROBES, HEALTH)
"""Paths that no throttle counts: those who watch the server ask for them."""


@dataclass(frozen=True)
class ApiConfig:
    """What the operator may choose. Of admin keys there may be several, separated by commas. Dates without a zone count
    in `zone`; no `throttle_requests_max`: no throttle; `egress` says what tasks may call, `abilities` what the engine
    can do, `retention_ms` how long history is kept, `hosts` under which names requests without a key are served.
    """

    admin_key: str | None = None
    admin_key_read_only: str | None = None
    registration: Registration = "closed"
    hosts: KnownHosts = LOOPBACK
    zone: tzinfo = UTC
    docs: bool = True
    body_max_bytes: int = limits.BODY_REQUEST_MAX_BYTES
    batch_max_bytes: int = 8 * 1024 * 1024
    tasks_max_bytes: int = limits.BODY_TASKS_MAX_BYTES
    bodies_max_bytes: int = 64 * 1024 * 1024
    """All bodies together; never less than one body may have."""
    client_timeout_seconds: float = 60.0
    retry_base_ms: int = limits.HANDLER_RETRY_BASE_MS
    default_owner: str | None = None
    """For whom requests without credentials act where that is offered; None: for nobody."""
    throttle_requests_max: int | None = None
    throttle_window_ms: int = limits.MINUTE_MS
    egress: Egress = OPEN
    abilities: Abilities = ALL
    retention_ms: int = limits.RETENTION_DAYS_DEFAULT * limits.DAY_MS
    queue_limit: int = limits.TASKS_IN_QUEUE_MAX_DEFAULT
    """Tasks that a new owner may have in queue."""


def create_app(
    store: Store,
    *,
    clock: Clock,
    telemetry: Telemetry,
    config: ApiConfig,
    random: Callable[[int], bytes] = os.urandom,
    examiner: Examiner | None = None,
    pages: Callable[[Parts], Sequence[Route]] | None = None,
    machine: Clock | None = None,
) -> "App":
    """The API over an open store. `random` gives that many random bytes, `examiner` opens keys, `pages` the routes of
    pages for people, `machine` is the clock that others on this machine see, if not the system's.
    """
    ground = Ground(store, clock, config.zone, random, config.egress, config.abilities, examiner)
    owners = OwnerService(store, clock, random, config.retention_ms, config.queue_limit)
    keys = AdminKeys(config.admin_key, config.admin_key_read_only)
    authenticator = Authenticator(owners, KeyUses(store, clock), clock, keys, config.default_owner)
    monitor, door, stopping = MonitorService(ground, machine, telemetry.troubles), Door(config.hosts), Stopping()
    parts = _parts(ground, owners, authenticator, monitor, config)
    table = [*probe_routes(store, monitor, stopping), *_api_routes(parts, authenticator, door, config)]
    if pages is not None or config.docs:
        table.append(front_route("/ui" if pages is not None else "/docs"))
    table += pages(parts) if pages is not None else []
    table += docs_routes() if config.docs else []
    throttle = None
    if config.throttle_requests_max is not None:
        throttle = Throttle(config.throttle_requests_max, config.throttle_window_ms, clock)
    largest = max(config.bodies_max_bytes, config.body_max_bytes, config.batch_max_bytes, config.tasks_max_bytes)
    inflow = Inflow(clock, largest, config.client_timeout_seconds)
    return App(table, door, authenticator, inflow, throttle, clock, telemetry, stopping)


def _parts(
    ground: Ground, owners: OwnerService, authenticator: Authenticator, monitor: MonitorService, config: ApiConfig
) -> Parts:
    tasks, schedules = TaskService(ground), ScheduleService(ground)
    return Parts(
        clock=ground.clock,
        zone=ground.zone,
        owners=owners,
        tasks=tasks,
        schedules=schedules,
        bulks=BulkService(ground),
        lanes=LaneService(ground),
        callbacks=CallbackService(ground),
        explain=ExplainService(ground),
        journal=JournalService(ground),
        audit=AuditService(ground),
        monitor=monitor,
        named=NamedService(ground, tasks, schedules, config.retry_base_ms),
        admin_keys=lambda: authenticator.admin_keys,
    )


def _api_routes(parts: Parts, authenticator: Authenticator, door: Door, config: ApiConfig) -> Iterator[Route]:
    most, clock = config.body_max_bytes, parts.clock
    yield from OwnerRoutes(
        parts.owners, authenticator, door, registration=config.registration, body_max_bytes=most
    ).table()
    yield from SigningRoutes(parts.owners, body_max_bytes=most).table()
    yield from CallbackRoutes(parts.owners, parts.callbacks, body_max_bytes=most).table()
    yield from TaskRoutes(parts.tasks, clock, body_max_bytes=most, batch_max_bytes=config.batch_max_bytes).table()
    yield from ScheduleRoutes(parts.schedules, body_max_bytes=most).table()
    yield from NamedRoutes(parts.named, parts.tasks, clock, body_max_bytes=config.tasks_max_bytes).table()
    yield from MonitorRoutes(parts.monitor).table()
    yield from ExplainRoutes(parts.explain).table()
    yield from LogRoutes(parts.journal).table()
    yield from AuditRoutes(parts.audit).table()
    yield from BulkRoutes(parts.bulks, body_max_bytes=most).table()
    yield from LaneRoutes(parts.lanes, parts.bulks, body_max_bytes=most).table()


def _document_route(table: Sequence[Route]) -> Route:
    """The route of the document that describes every route, itself included."""
    document = b""

    async def serve(_: Exchange) -> Answer:
        return Answer(200, document)

    described = Success(200, dict[str, Any], "OpenAPI 3.1")
    route = Route("GET", "/openapi.json", serve, "Describe the API", "none", [described])
    document = msgspec.json.encode(openapi([*table, route]))
    return route


class App:
    """An ASGI application. Hot routes are looked up before the router, which costs more than the rest together."""

    def __init__(
        self,
        table: Sequence[Route],
        door: Door,
        authenticator: Authenticator,
        inflow: Inflow,
        throttle: Throttle | None,
        clock: Clock,
        telemetry: Telemetry,
        stopping: Stopping,
    ) -> None:
        self._stopping = stopping
        self.table = (*table, _document_route(table))
        self._door = door
        self._authenticator = authenticator
        self.inflow = inflow
        self._throttle = throttle
        self._own_throttle = Throttle(limits.REQUESTS_PER_MINUTE_MAX, limits.MINUTE_MS, clock)
        self._clock = clock
        self._telemetry = telemetry
        self._request_ids = request_ids()
        self._hot = {(route.method, route.path): route for route in table if route.hot}
        self._router = Router(self._router_routes(), default=self._serve_unknown_path, redirect_slashes=False)

    def set_admin_keys(self, keys: str | None, read_only: str | None) -> None:
        """From now on, these are the operator's keys."""
        self._authenticator.set_admin_keys(AdminKeys(keys, read_only))

    def stop(self) -> None:
        """From now on, it says that it is not ready: the process is about to stop."""
        self._stopping.now = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            route = self._hot.get((scope["method"], scope["path"]))
            if route is not None:
                await self._serve(route, scope, receive, send)
            else:
                await self._router(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    def _router_routes(self) -> list[RouterRoute]:
        """One entry a path, which chooses by method itself; fixed paths before those with parameters."""
        paths: dict[str, dict[str, Route]] = {}
        for route in self.table:
            paths.setdefault(route.path, {})[route.method] = route
            if route.also is not None:
                paths[route.path][route.also] = route
        fixed_first = sorted(paths, key=lambda path: "{" in path)
        return [RouterRoute(path, endpoint=_Path(self._serve, paths[path])) for path in fixed_first]

    async def _serve_unknown_path(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def handler(_: Exchange) -> Answer:
            raise NotFound("nothing is served at this path; /docs shows what is", code="path_not_found")

        await self._serve(Route("GET", "", handler, "Find a path", "none", []), scope, receive, send)

    async def _serve(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, self.inflow)
        self.inflow.enter(exchange)
        try:
            await self._answer(route, exchange, send)
        finally:
            self.inflow.leave(exchange)

    async def _answer(self, route: Route, exchange: Exchange, send: Send) -> None:
        request_id, scope = next(self._request_ids), exchange.scope
        began = self._clock.monotonic() if self._telemetry.debug else 0.0
        extra: Sequence[tuple[bytes, bytes]] = ()
        try:
            self._door.look(exchange)
            extra = await self._admit(route, exchange)
            if scope["query_string"] and route.path and route.query_prefix is None:
                exchange.query(tuple(parameter.name for parameter in route.query))
            answer = await self._handle(route, exchange)
        except (RequestError, StoreError) as error:
            answer = _answer_to(error, route, exchange, request_id)
            if isinstance(error, StoreError):
                self._tell_of(error, route.action, scope, request_id)
        except Exception as error:
            answer = _answer_to(error, route, exchange, request_id)
            self._telemetry.emit(Unexpected.of(f"{route.action} ({request_id.decode()})", error))
        else:
            self._telemetry.store_worked(route.action)
        await send_answer(send, scope, answer, request_id, extra)
        if self._telemetry.debug:
            self._tell(scope, answer, began, request_id)

    async def _handle(self, route: Route, exchange: Exchange) -> Answer:
        """Has it done; what is changed by hand is recorded as done by this key. Taking tasks in is no such act."""
        if route.method == "GET" or route.hot or route.access not in ("owner", "admin"):
            return await route.handler(exchange)
        with acting(exchange.caller.actor):
            return await route.handler(exchange)

    async def _admit(self, route: Route, exchange: Exchange) -> Sequence[tuple[bytes, bytes]]:
        """Finds out who asks and whether it may; gives the RateLimit headers of the answer."""
        access = route.access
        if access in ("owner", "admin"):
            caller = self._authenticator.remembered(exchange.headers)
            exchange.caller = caller or await self._identify(route, exchange)
            exchange.caller.check_may(exchange.scope["method"])
            if access == "admin" and not exchange.caller.admin:
                raise Forbidden("this takes the admin key", code="admin_required")
            return self._count(exchange.caller)
        if access == "none":
            self._door.admit(exchange, any_host=route.any_host)
        if self._throttle is not None and route.path not in _UNCOUNTED:
            return self._throttle.count(exchange.address())
        return ()

    def _count(self, caller: Caller) -> Sequence[tuple[bytes, bytes]]:
        """Counts a request of an owner, by its own bound where it has one, else by that of all."""
        owner = caller.owner
        if owner is None or caller.admin:
            return ()
        if owner.requests_max is not None:
            return self._own_throttle.count(owner.id, owner.requests_max)
        return () if self._throttle is None else self._throttle.count(owner.id)

    async def _identify(self, route: Route, exchange: Exchange) -> Caller:
        try:
            if not (route.guests and self._authenticator.has_place_for(exchange.headers)):
                return await self._authenticator.caller(exchange.headers)
            self._door.admit(exchange)
            if (sign := self._door.forwarded(exchange)) is not None:
                text = f"what a proxy passed on ({sign}) needs a key: send it as Authorization: Bearer <key>"
                raise Unauthorized(text, code="credentials_missing")
            return await self._authenticator.guest()
        except (Unauthorized, Forbidden):
            if self._throttle is not None:  # who guesses keys is counted by address
                self._throttle.count(exchange.address())
            raise

    def _tell_of(self, error: StoreError, action: str, scope: Scope, request_id: bytes) -> None:
        """Tells the operator: of trouble that passes, a line now and then; of any other, where it came from."""
        if isinstance(error, Unavailable | Busy):
            self._telemetry.store_failed(action, error)
        elif isinstance(error, Unreadable):
            self._telemetry.emit(StoredUnreadable(f"{scope['method']} {scope['path']}", error.message))
        else:
            self._telemetry.emit(Unexpected.of(f"{action} ({request_id.decode()})", error))

    def _tell(self, scope: Scope, answer: Answer, began: float, request_id: bytes) -> None:
        spent_ms = round((self._clock.monotonic() - began) * 1_000, 3)
        told = RequestServed(scope["method"], scope["path"], answer.status, spent_ms, request_id.decode())
        self._telemetry.emit(told)


def _scoped(error: Exception, exchange: Exchange) -> Exception:
    """What is not there, in the words for whoever asked by a key that does not see everything."""
    if not isinstance(error, NotFound) or not error.scoped or exchange.caller.admin:
        return error
    if b"authorization" not in exchange.headers:
        return error
    return NotFound(f"{error.message} that this key may see", code=error.code)


def _answer_to(error: Exception, route: Route, exchange: Exchange, request_id: bytes) -> Answer:
    return (route.trouble or _problem)(exchange, error, route.action, request_id)


def _problem(exchange: Exchange, error: Exception, action: str, _: bytes) -> Answer:
    return problem(_scoped(error, exchange), action)


_Serve = Callable[[Route, Scope, Receive, Send], Awaitable[None]]


class _Path:
    """All methods of one path. HEAD is GET without the body."""

    def __init__(self, serve: _Serve, routes: Mapping[str, Route]) -> None:
        self._serve = serve
        self._routes = dict(routes)
        if "GET" in routes:
            self._routes["HEAD"] = routes["GET"]
        self._allowed = sorted(self._routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["method"]) or self._refusal(scope["method"])
        await self._serve(route, scope, receive, send)

    def _refusal(self, method: str) -> Route:
        async def handler(_: Exchange) -> Answer:
            raise MethodNotAllowed(method, self._allowed)

        return Route("GET", "", handler, "Choose a method", "none", [])


async def _lifespan(receive: Receive, send: Send) -> None:
    """Nothing to set up or to end: who built the application owns the store."""
    phase: Literal["startup", "shutdown"]
    for phase in ("startup", "shutdown"):
        while (await receive())["type"] != f"lifespan.{phase}":
            pass
        await send({"type": f"lifespan.{phase}.complete"})
