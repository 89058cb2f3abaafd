"""A whole server in a thread of the test's process: the API on a free port of this machine, an engine, a database in a
folder that goes away with it, and a clock that the test moves.
"""

import asyncio
import os
import tempfile
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self

from tasks_server import wiring
from tasks_server.client import AsyncClient, Client
from tasks_server.clock import SystemClock
from tasks_server.domain import limits
from tasks_server.domain.durations import duration_ms
from tasks_server.plans import (
    AbilitiesPlan,
    ApiPlan,
    ConnectionsPlan,
    EgressPlan,
    EnginePlan,
    HandlersPlan,
    LogPlan,
    Plan,
)
from tasks_server.serving import HttpServer, bind, url_of
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore

_OWNER: Final = "test-owner"
_STOP_SECONDS: Final = 5.0


class MovableClock(SystemClock):
    """The machine's clock, and what a test has moved it on by: all of time goes on, as if that much had passed."""

    def __init__(self) -> None:
        self._ahead_ms = 0

    def now(self) -> int:
        return super().now() + self._ahead_ms

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead_ms / 1_000

    def elapsed(self) -> float:
        return super().elapsed() + self._ahead_ms / 1_000

    def advance(self, ms: int) -> None:
        self._ahead_ms += ms


class TestServer:
    """Runs while it is entered. `handlers`: modules to import, which run in a process of their own, as a worker's do;
    `processes`: in how many. Raises what a server raises that cannot start.
    """

    __test__ = False  # no class of tests, whatever its name

    def __init__(self, handlers: Sequence[str] = (), *, processes: int = 1) -> None:
        self.url = ""
        self.key = ""
        """That of an owner named `test-owner`."""
        self.client: Client
        self._clock = MovableClock()
        self._handlers = list(handlers)
        self._processes = processes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: Any = None
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="tasks-server-test-")
        self._thread = threading.Thread(target=self._run, name="tasks-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            self._folder.cleanup()
            raise self._failure
        with Client(self.url) as stranger:
            self.key = stranger.owners.register(_OWNER).key
        self.client = Client(self.url, self.key)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._folder.cleanup()
        if self._failure is not None:
            raise self._failure

    def async_client(self) -> AsyncClient:
        """Another client, for asyncio, which the caller closes."""
        return AsyncClient(self.url, self.key)

    def advance(self, time: timedelta | str) -> None:
        """Lets time go on by so much, at once: a timedelta, or text with units (`90s`, `1d`). What becomes due by that
        runs now, as does what waits for a retry; deadlines and leases pass, too. Time only goes on.
        """
        ms = duration_ms(time) if isinstance(time, str) else round(time / timedelta(milliseconds=1))
        if ms < 0:
            raise ValueError(f"time only goes on, not by {time!r}")
        self._clock.advance(ms)
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._engine.look_anew(), self._loop).result()

    def now_ms(self) -> int:
        """What its clock shows, in ms since the epoch."""
        return self._clock.now()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        with bind("127.0.0.1", 0) as listener:
            plan = _plan(Path(self._folder.name), listener.fileno(), self._handlers, self._processes)
            told = wiring.telemetry(plan.log)
            store = SqliteStore(Path(plan.database), Sealer(*plan.cipher_keys), self._clock, durable=False, make=True)
            await store.open()
            try:
                app = wiring.build_api(plan, store, self._clock, told)
                self._engine = engine = wiring.build_engine(plan, store, self._clock, told)
                await engine.prepare()
                server = HttpServer(app, listener.fileno(), plan.api.connections, told)
                server.start()
                running = asyncio.create_task(engine.run())
                self.url = url_of(listener)
                self._ready.set()
                stopping = asyncio.create_task(self._stop.wait())
                await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                engine.stop(0)
                await running
                await server.stop(_STOP_SECONDS)
            finally:
                await store.close()


def _plan(folder: Path, listen_fd: int, handlers: list[str], processes: int) -> Plan:
    """Only the defaults, whatever the environment says."""
    api = ApiPlan(
        admin_key=None,
        admin_key_read_only=None,
        registration="open",
        hosts=[],
        loopback=True,
        zone="UTC",
        docs=True,
        body_max_bytes=limits.BODY_REQUEST_MAX_BYTES,
        batch_max_bytes=8 * 1024 * 1024,
        tasks_max_bytes=limits.BODY_TASKS_MAX_BYTES,
        bodies_max_bytes=64 * 1024 * 1024,
        connections=ConnectionsPlan(256, 0, 0, 60.0),
        retry_base_ms=limits.HANDLER_RETRY_BASE_MS,
        default_owner=None,
        queue_limit=limits.TASKS_IN_QUEUE_MAX_DEFAULT,
        throttle_requests_max=None,
        throttle_window_ms=limits.MINUTE_MS,
        ui="off",
        ui_name="",
    )
    runs = HandlersPlan(handlers, os.fsencode(Path.cwd()), processes, "shared", None, []) if handlers else None
    engine = EnginePlan(
        concurrency_max=64,
        per_target_max=64,
        retention_ms=limits.TEN_YEARS_MS,
        audit_ms=limits.TEN_YEARS_MS,
        response_max_bytes=limits.BODY_RESPONSE_MAX_BYTES,
        look_again_ms=1_000,
        http=True,
        handlers=runs,
    )
    return Plan(
        database=str(folder / "tasks.sqlite"),
        cipher_keys=[os.urandom(32)],
        key_file=None,
        database_wait_seconds=0.0,
        grace_seconds=0.0,
        log=LogPlan("warning", "console", False),
        listen_fd=listen_fd,
        egress=EgressPlan("open", "", ""),
        abilities=AbilitiesPlan([], None),
        api=api,
        engine=engine,
    )
