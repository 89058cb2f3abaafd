"""The only place that builds the whole: store, services, engine, web application, by what the settings say.

`plan` turns settings into plain values that go to the processes; the builders below run there. Each imports what it
builds, so that no process carries the libraries of another.
"""

import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from tasks_server import __version__
from tasks_server.clock import Clock, DatabaseClock, SystemClock
from tasks_server.domain import limits
from tasks_server.domain.errors import StoreError
from tasks_server.plans import AbilitiesPlan, ApiPlan, EgressPlan, EnginePlan, HandlersPlan, LogPlan, Plan
from tasks_server.store.postgres.address import is_postgres
from tasks_server.telemetry import Format, Telemetry

if TYPE_CHECKING:
    from tasks_server.api.parts import Parts
    from tasks_server.api.routes import Route
    from tasks_server.engine.loop import Engine
    from tasks_server.engine.runs import Handlers
    from tasks_server.service.audit import AuditService
    from tasks_server.service.bulks import BulkService
    from tasks_server.service.callbacks import CallbackService
    from tasks_server.service.explain import ExplainService
    from tasks_server.service.journal import JournalService
    from tasks_server.service.lanes import LaneService
    from tasks_server.service.owners import OwnerService
    from tasks_server.service.schedules import ScheduleService
    from tasks_server.service.tasks import TaskService
    from tasks_server.settings import Settings
    from tasks_server.settings.places import Places
    from tasks_server.store.clustering import Clustering
    from tasks_server.store.copying.ends import Source, Target
    from tasks_server.store.copying.transfer import Copied, Step
    from tasks_server.store.engines import Engines
    from tasks_server.store.migrate import Migration
    from tasks_server.store.ports import Resealing, Store
    from tasks_server.store.postgres.link import Connection
    from tasks_server.store.sealing import Sealer


_T = TypeVar("_T")


def log_plan(settings: "Settings") -> LogPlan:
    """How to log here: `auto` means lines for people when a terminal shows them, else for machines."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    form: Format = settings.log_format if settings.log_format != "auto" else "console" if terminal else "json"
    return LogPlan(settings.log_level, form, terminal and not os.environ.get("NO_COLOR"))


def telemetry(log: LogPlan) -> Telemetry:
    """Telemetry on the error output."""
    return Telemetry(SystemClock(), log.level, log.form, colored=log.colored)


def egress_plan(settings: "Settings") -> EgressPlan:
    """What tasks may call by these settings."""
    from tasks_server.settings.egress import egress_policy

    return EgressPlan(egress_policy(settings), settings.egress_allow or "", settings.egress_deny or "")


def abilities_plan(settings: "Settings") -> AbilitiesPlan:
    """What the engine can do here. libcurl is loaded to ask it, so that no API process has to carry it."""
    from tasks_server.engine.http.abilities import lacking

    folder = settings.certificates_dir
    return AbilitiesPlan(sorted(lacking()), str(folder.absolute()) if folder else None)


def plan(settings: "Settings", where: "Places", keys: list[bytes], listen_fd: int, loopback: bool) -> Plan:
    """What the processes have to know. `loopback`: only this machine can reach the server."""
    from tasks_server.settings.reach import connections_plan, own_hosts, registration, ui
    from tasks_server.settings.table import plain

    return Plan(
        database=where.locator,
        cipher_keys=keys,
        key_file=str(where.key_file) if where.key_file else None,
        database_wait_seconds=settings.database_wait_seconds,
        grace_seconds=settings.grace_seconds,
        log=log_plan(settings),
        listen_fd=listen_fd,
        egress=egress_plan(settings),
        abilities=abilities_plan(settings),
        api=ApiPlan(
            admin_key=plain(settings.admin_key),
            admin_key_read_only=plain(settings.admin_key_read_only),
            registration=registration(settings, loopback),
            hosts=own_hosts(settings),
            loopback=loopback,
            zone=settings.tz,
            docs=settings.swagger_ui,
            ui=ui(settings, loopback),
            ui_name=settings.ui_name,
            body_max_bytes=settings.max_size_body_request,
            batch_max_bytes=settings.max_size_body_batch,
            tasks_max_bytes=settings.max_size_body_tasks,
            bodies_max_bytes=settings.max_size_bodies,
            connections=connections_plan(settings),
            retry_base_ms=settings.retry_base_delay_ms,
            default_owner=settings.default_owner,
            queue_limit=settings.queue_limit,
            throttle_requests_max=settings.max_throttle_request or None,
            throttle_window_ms=settings.max_throttle_time_window,
        ),
        engine=EnginePlan(
            concurrency_max=settings.worker_max_concurrent_tasks,
            per_target_max=settings.max_concurrent_per_host,
            retention_ms=round(settings.retention_days * limits.DAY_MS),
            audit_ms=round(settings.audit_days * limits.DAY_MS),
            response_max_bytes=settings.max_size_data_response,
            look_again_ms=settings.worker_polling_interval_ms,
            http=not settings.handlers_only,
            handlers=_handlers_plan(settings),
        ),
    )


def _handlers_plan(settings: "Settings") -> HandlersPlan | None:
    if not settings.handler_modules:
        return None
    from tasks_server.settings.layers import secret_variables

    return HandlersPlan(
        settings.handler_modules,
        os.fsencode(Path.cwd()),
        settings.handler_processes,
        settings.handler_isolation,
        settings.handler_calls_max or None,
        sorted(secret_variables()),
    )


def build_clock(database: str, bound: Literal["early", "late"]) -> Clock:
    """The time by which tasks are due. Processes on one machine share its clock, those on PostgreSQL the database's:
    `early` for who runs tasks, `late` for who takes them in.
    """
    return DatabaseClock(bound) if is_postgres(database) else SystemClock()


def build_sealer(keys: list[bytes], key_file: str | None = None, key_source: str = "CIPHER_KEY") -> "Sealer":
    """What seals and opens; changes of the `key_file` take effect while it is in use."""
    from tasks_server.store.keys import follower
    from tasks_server.store.sealing import Sealer

    follow = follower(Path(key_file)) if key_file else None
    return Sealer(*keys, source=follow, named=key_file or key_source)


def build_store(
    database: str,
    keys: list[bytes],
    clock: Clock,
    *,
    durable: bool = True,
    key_file: str | None = None,
    key_source: str = "CIPHER_KEY",
    role: Literal["api", "engine", "command line"] = "command line",
) -> "Store":
    """The store, not open yet. Not `durable`: commits survive a crash of the process, but maybe not a power cut.
    Changes of the `key_file` take effect while the store is open; errors name it, or else the `key_source`. A clock of
    `build_clock` learns the time from the store.
    """
    sealer = build_sealer(keys, key_file, key_source)
    if is_postgres(database):
        from tasks_server.store.postgres.store import PostgresStore

        return PostgresStore(database, sealer, clock, durable=durable, role=role)
    from tasks_server.store.sqlite.store import SqliteStore

    return SqliteStore(Path(database), sealer, clock, durable=durable)


def has_owners(where: "Places") -> bool:
    """Whether the store has an owner, asked without opening it. One that is not there yet has none."""
    if where.database is not None:
        from tasks_server.store.sqlite.owning import has_owners

        return has_owners(where.database)
    from tasks_server.store.owning import OWNERS_END
    from tasks_server.store.postgres.owning import Ownings

    with contextlib.suppress(StoreError):
        return bool(_at_database(where.locator, lambda connection: Ownings.page(connection, [("", 1, OWNERS_END)])[0]))
    return False


def build_api(plan: Plan, store: "Store", clock: Clock, told: Telemetry) -> Any:
    """The ASGI application, over an open store with this clock."""
    from tasks_server.api.app import ApiConfig, create_app
    from tasks_server.domain.own_hosts import KnownHosts
    from tasks_server.engine.certificates.examiner import Examiner

    chosen = plan.api
    config = ApiConfig(
        admin_key=chosen.admin_key,
        admin_key_read_only=chosen.admin_key_read_only,
        registration=chosen.registration,
        hosts=KnownHosts(chosen.hosts, loopback=chosen.loopback),
        zone=ZoneInfo(chosen.zone),
        docs=chosen.docs,
        body_max_bytes=chosen.body_max_bytes,
        batch_max_bytes=chosen.batch_max_bytes,
        tasks_max_bytes=chosen.tasks_max_bytes,
        bodies_max_bytes=chosen.bodies_max_bytes,
        client_timeout_seconds=chosen.connections.timeout_seconds,
        retry_base_ms=chosen.retry_base_ms,
        default_owner=chosen.default_owner,
        throttle_requests_max=chosen.throttle_requests_max,
        throttle_window_ms=chosen.throttle_window_ms,
        egress=plan.egress.build(),
        abilities=plan.abilities.build(),
        retention_ms=plan.engine.retention_ms,
        queue_limit=chosen.queue_limit,
    )
    return create_app(store, clock=clock, telemetry=told, config=config, examiner=Examiner(clock), pages=_pages(plan))


def _pages(plan: Plan) -> "Callable[[Parts], Sequence[Route]] | None":
    if plan.api.ui == "off":
        return None
    from tasks_server.web.routes import UiConfig, ui_routes

    sealer = build_sealer(plan.cipher_keys, plan.key_file)
    config = UiConfig(plan.api.ui_name, read_only=plan.api.ui == "read-only")
    return lambda parts: ui_routes(parts, sealer.seal, sealer.open, config)


def sign_in_link(url: str, keys: list[bytes]) -> str:
    """A link that signs in the operator once, for the server at this URL with these cipher keys."""
    from tasks_server.web.session import Sessions

    sealer = build_sealer(keys)
    return f"{url}/ui/login?token={Sessions(sealer.seal, sealer.open, SystemClock()).token(os.urandom(16))}"


async def prepare_api(plan: Plan, store: "Store", clock: Clock) -> None:
    """Makes what the API wants to find in an open store: the default owner, if there is to be one."""
    from tasks_server.service.owners import OwnerService

    if plan.api.default_owner is not None:
        await OwnerService(store, clock, queue_limit=plan.api.queue_limit).ensured(plan.api.default_owner)


async def follow_clock(store: "Store", clock: Clock, told: Telemetry) -> None:
    """Has the API notice when the clock is set, until it is cancelled."""
    from tasks_server.service.clock import ClockFollower

    await ClockFollower(store, clock, told).follow()


async def watch_engines(store: "Store", clock: Clock, told: Telemetry) -> None:
    """Has the API tell of engines that hang, until it is cancelled."""
    from tasks_server.service.engine_watch import EngineWatch

    await EngineWatch(store, clock, told).follow()


def build_engine(plan: Plan, store: "Store", clock: Clock, told: Telemetry) -> "Engine":
    """The engine, over an open store with this clock."""
    from tasks_server.engine.http.client import HttpClient
    from tasks_server.engine.loop import Engine, EngineConfig

    chosen = plan.engine
    config = EngineConfig(
        concurrency_max=chosen.concurrency_max,
        per_target_max=chosen.per_target_max,
        retention_ms=chosen.retention_ms,
        audit_ms=chosen.audit_ms,
        grace_seconds=plan.grace_seconds,
        look_again_seconds=chosen.look_again_ms / 1_000,
        http=chosen.http,
        retry_base_ms=plan.api.retry_base_ms,
    )
    caller = HttpClient(
        clock=clock,
        user_agent=f"Tasks-Server/{__version__}",
        response_max_bytes=chosen.response_max_bytes,
        connections_max=chosen.concurrency_max,
        certificates_dir=Path(folder) if (folder := plan.abilities.certificates_dir) else None,
        egress=plan.egress.build(),
    )
    return Engine(store, caller, clock, config, told, random.random, _build_handlers(plan, clock, told))


def _build_handlers(plan: Plan, clock: Clock, told: Telemetry) -> "Handlers | None":
    chosen = plan.engine.handlers
    if chosen is None:
        return None
    from tasks_server.engine.handlers.crew import CrewPlan
    from tasks_server.engine.handlers.pool import HandlerPool
    from tasks_server.handlers.frames import Start

    log = plan.log
    start = Start(
        chosen.modules, chosen.folder, plan.engine.response_max_bytes, log.level, log.form, colored=log.colored
    )
    return HandlerPool(
        CrewPlan(start, chosen.processes, chosen.isolation, chosen.calls_max, plan.api.retry_base_ms, chosen.withheld),
        clock,
        told,
    )


class Services(msgspec.Struct):
    """What the command line works with."""

    owners: "OwnerService"
    tasks: "TaskService"
    schedules: "ScheduleService"
    explain: "ExplainService"
    journal: "JournalService"
    audit: "AuditService"
    lanes: "LaneService"
    callbacks: "CallbackService"
    bulks: "BulkService"
    sealed: "Resealing"
    cluster: "Clustering"
    engines: "Engines"
    clock: Clock


@contextlib.asynccontextmanager
async def services(settings: "Settings", where: "Places", keys: list[bytes]) -> AsyncIterator[Services]:
    """The services over a store that is opened for this block. Raises `StoreError`."""
    from tasks_server.engine.certificates.here import ExaminedHere
    from tasks_server.service.audit import AuditService
    from tasks_server.service.bulks import BulkService
    from tasks_server.service.callbacks import CallbackService
    from tasks_server.service.explain import ExplainService
    from tasks_server.service.ground import Ground
    from tasks_server.service.journal import JournalService
    from tasks_server.service.lanes import LaneService
    from tasks_server.service.owners import OwnerService
    from tasks_server.service.schedules import ScheduleService
    from tasks_server.service.tasks import TaskService

    clock = build_clock(where.locator, "late")
    store = build_store(where.locator, keys, clock, key_source=where.key_source)
    ground = Ground(
        store,
        clock,
        ZoneInfo(settings.tz),
        egress=egress_plan(settings).build(),
        abilities=abilities_plan(settings).build(),
        examiner=ExaminedHere(),
    )
    await store.open()
    try:
        yield Services(
            OwnerService(store, clock, queue_limit=settings.queue_limit, suggests=True),
            TaskService(ground),
            ScheduleService(ground),
            ExplainService(ground),
            JournalService(ground),
            AuditService(ground),
            LaneService(ground),
            CallbackService(ground),
            BulkService(ground),
            store,
            store,
            store,
            clock,
        )
    finally:
        await store.close()


def copy_database(
    source: str,
    target: str,
    keys: list[bytes],
    told: "Callable[[Step], None]",
    *,
    live: bool = False,
    replace_target: bool = False,
    key_source: str = "CIPHER_KEY",
) -> "Copied":
    """Moves all that one database holds to another one, each a path or a URL of PostgreSQL, or goes on with it.
    Raises `StoreError`, or `Refused` when one of the two is in use, the target holds other data or differs in the end.
    """
    from tasks_server.store.copying.transfer import Transfer
    from tasks_server.store.sealing import Sealer

    sealer, clock = Sealer(*keys, named=key_source), SystemClock()
    with (
        contextlib.closing(_source(source, sealer, clock, live)) as giving,
        contextlib.closing(_target(target, sealer, clock)) as taking,
    ):
        return Transfer(giving, taking, clock, told).run(live=live, replace_target=replace_target)


def _source(database: str, sealer: "Sealer", clock: Clock, live: bool) -> "Source":
    if is_postgres(database):
        from tasks_server.store.postgres.copying import PostgresSource

        return PostgresSource(database, sealer, clock, live=live)
    from tasks_server.store.sqlite.copying import SqliteSource

    return SqliteSource(Path(database), sealer, live=live)


def _target(database: str, sealer: "Sealer", clock: Clock) -> "Target":
    if is_postgres(database):
        from tasks_server.store.postgres.copying import PostgresTarget

        return PostgresTarget(database, sealer, clock)
    from tasks_server.store.sqlite.copying import SqliteTarget

    return SqliteTarget(Path(database), sealer)


# The schema of PostgreSQL


def pending_migrations(url: str) -> "list[Migration]":
    """What `upgrade_database` would have to apply, of both kinds. Raises `StoreError`."""
    from tasks_server.store.postgres import schema

    return _at_database(url, schema.preview)


def is_made(url: str) -> bool:
    """Whether the database holds our tables already. Raises `StoreError`."""
    from tasks_server.store.postgres import schema

    return _at_database(url, schema.is_made)


def upgrade_database(url: str, *, post: bool) -> list[str]:
    """The names of the migrations that were applied. Raises `StoreError`, or `Refused` when something else must come
    first.
    """
    from tasks_server.store.postgres import schema

    return _at_database(url, lambda connection: schema.upgrade(connection, post=post))


def prove_key(where: "Places", keys: list[bytes]) -> None:
    """From now on, the database opens with this key alone. Raises `Corrupt` when it has another one."""
    from tasks_server.store.postgres import schema
    from tasks_server.store.sealing import Sealer

    sealer = Sealer(*keys, named=where.key_source)
    _at_database(where.locator, lambda connection: schema.verify(connection, sealer, where.shown))


def _at_database(url: str, work: "Callable[[Connection], _T]") -> _T:
    """What `work` gives on a connection of its own."""
    from tasks_server.store.postgres.link import Link, translate

    link = Link(url, SystemClock(), answer_seconds=None)
    with contextlib.closing(link.connect()) as connection:
        try:
            return work(connection)
        except Exception as error:
            raise translate(error, link.where) from error
