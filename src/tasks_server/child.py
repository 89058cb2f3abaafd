"""A process that serves: the API or the engine. Started by the supervisor, never by hand.

    python -P -m tasks_server.child api|engine FD [again]

FD is the socket to the supervisor: the plan comes in as one line of JSON, and again when the settings were read anew;
`Ready` or `Failed` goes out. Its end means that the supervisor is gone; then this process ends at once, to leave the
port and the tasks to the next one. `again`: the server has been ready before.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from tasks_server import exit_codes, wiring
from tasks_server.children import AGAIN, BEAT_SECONDS, Beat, Failed, Ready
from tasks_server.clock import Clock
from tasks_server.domain import texts
from tasks_server.domain.errors import StoreError, TasksServerError, Unavailable
from tasks_server.plans import Plan
from tasks_server.store.keys import key_faults
from tasks_server.store.ports import Store
from tasks_server.store.postgres.address import is_postgres
from tasks_server.telemetry import Telemetry, leave_lost_terminal
from tasks_server.telemetry.events import VALUE_LENGTH_MAX, KeyFileBack, KeyFileTrouble, Unexpected
from tasks_server.watchdog import Watchdog

_SWITCH_SECONDS: Final = 0.0005
"""The store's thread asks for the interpreter lock while the event loop is busy; with Python's default of 5 ms it gets
it 200 times a second at most (docs/decisions/0003)."""
_GC_THRESHOLDS: Final = (50_000, 20, 100)
"""Nearly all that a task makes is freed when its last reference goes; the collector, which by default looks for cycles
every 700 objects, finds next to nothing and walks over every call in flight."""
_ORPHANED: Final = 1
_WATCH_SECONDS: Final = 1.0
_WATCH_KEY_SECONDS: Final = 2.0
_WATCHING: Final = "find the database"
_STARTING: Final = "reach the database"


_BEAT: Final = msgspec.json.encode(Beat()) + b"\n"


class Channel:
    """The socket to the supervisor. `again`: the server has been ready before."""

    def __init__(self, fd: int, again: bool) -> None:
        self.again = again
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._lines = self._read()
        self._lock = threading.Lock()
        self._latest: Plan | None = None
        self._on_plan: Callable[[Plan], None] | None = None

    def _read(self) -> Iterator[Plan]:
        received = b""
        while True:
            *lines, received = received.split(b"\n")
            for line in lines:
                yield msgspec.json.decode(line, type=Plan)
            part = self._socket.recv(65_536)
            if not part:
                return
            received += part

    def plan(self) -> Plan:
        """What to do. Blocks until it has come."""
        return next(self._lines, None) or os._exit(_ORPHANED)

    def end_with_the_supervisor(self) -> None:
        """From now on, this process ends when the supervisor does."""

        def watch() -> None:
            try:
                for plan in self._lines:
                    with self._lock:
                        self._latest = plan
                        if self._on_plan is not None:
                            self._on_plan(plan)
            finally:
                os._exit(_ORPHANED)

        threading.Thread(target=watch, name="supervisor", daemon=True).start()

    def follow(self, on_plan: Callable[[Plan], None]) -> None:
        """Calls `on_plan` with the latest plan, if others came after the first, and with each that comes, in the event
        loop that runs now.
        """
        loop = asyncio.get_running_loop()

        def hand_over(plan: Plan) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and so will this process
                loop.call_soon_threadsafe(on_plan, plan)

        with self._lock:
            self._on_plan = hand_over
            if self._latest is not None:
                hand_over(self._latest)

    def tell(self, message: Ready | Failed) -> None:
        """One line to the supervisor."""
        self._socket.sendall(msgspec.json.encode(message) + b"\n")

    def beat(self) -> None:
        """A sign of life. A supervisor that does not read needs none."""
        with contextlib.suppress(OSError):
            self._socket.send(_BEAT, socket.MSG_DONTWAIT)


def _on_stop(act: Callable[[], None]) -> None:
    """Calls `act` when the supervisor asks this process to stop."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, act)


def _tell_of_strays(told: Telemetry) -> None:
    """Exceptions of tasks that nobody awaits go to the log as events, not as raw text."""

    def handle(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(context["message"])
        told.emit(Unexpected.of(context["message"], error))

    asyncio.get_running_loop().set_exception_handler(handle)


def _take_over(plan: Plan, store: Store, told: Telemetry) -> None:
    """The settings were read anew."""
    leave_lost_terminal()
    told.set_level(plan.log.level)
    store.look_for_keys()


async def _watch(store: Store, told: Telemetry) -> None:
    """Tells while the database is lost, and when it is back, whether anybody asks for it or not."""
    while True:
        if lost := store.lost():
            told.store_failed(_WATCHING, lost)
        else:
            told.store_worked(_WATCHING)
            if told.troubles():
                await _try_to_write(store, told)
        await asyncio.sleep(_WATCH_SECONDS)


async def _try_to_write(store: Store, told: Telemetry) -> None:
    """While something failed, finds out whether the store takes writes again: what failed may not be tried anew."""
    try:
        await store.probe()
    except StoreError as error:
        told.store_failed("write", error)
    else:
        told.store_writes("write")


async def _watch_key(plan: Plan, told: Telemetry) -> None:
    """Tells when the file of the cipher key is gone: the server goes on without it, and does not start again."""
    if plan.key_file is None:
        return
    path, missed = Path(plan.key_file), False
    look = key_faults(path)
    while True:
        if fault := await asyncio.to_thread(look):
            missed = True
            told.emit(KeyFileTrouble(fault))
        elif missed:
            missed = False
            told.emit(KeyFileBack(str(path)))
        await asyncio.sleep(_WATCH_KEY_SECONDS)


async def _beat(channel: Channel) -> None:
    """Shows the supervisor that the event loop goes round."""
    while True:
        channel.beat()
        await asyncio.sleep(BEAT_SECONDS)


@contextlib.asynccontextmanager
async def _opened(make: Callable[[], Store], plan: Plan, clock: Clock, told: Telemetry) -> AsyncIterator[Store]:
    """The store, open. A database elsewhere may start later than we do: it is waited for, as long as the plan says.
    Raises `StoreError`.
    """
    began = clock.monotonic()
    while True:
        store = make()
        try:
            await store.open()
        except Unavailable as error:
            waited = clock.monotonic() - began
            if not is_postgres(plan.database) or waited >= plan.database_wait_seconds:
                raise
            left = round(plan.database_wait_seconds - waited)
            told.store_failed(_STARTING, Unavailable(f"{error.message}; waiting for it, for {left} s at most"))
            await asyncio.sleep(_WATCH_SECONDS)
            continue
        told.store_worked(_STARTING)
        try:
            yield store
        finally:
            await store.close()
        return


@contextlib.asynccontextmanager
async def _beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Does these meanwhile, and then no more."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def serve_api(plan: Plan, channel: Channel, told: Telemetry) -> None:
    """Serves HTTP until it is asked to stop; then lets requests in work end."""
    from tasks_server.serving import HttpServer

    _tell_of_strays(told)
    clock = wiring.build_clock(plan.database, "late")
    build = partial(wiring.build_store, plan.database, plan.cipher_keys, clock, key_file=plan.key_file, role="api")
    async with _opened(build, plan, clock, told) as store:
        await wiring.prepare_api(plan, store, clock)
        app = wiring.build_api(plan, store, clock, told)
        server = HttpServer(app, plan.listen_fd, plan.api.connections, told)

        def take_over(plan: Plan) -> None:
            _take_over(plan, store, told)
            app.set_admin_keys(plan.api.admin_key, plan.api.admin_key_read_only)

        channel.follow(take_over)
        asked = asyncio.Event()
        _on_stop(asked.set)
        watchdog = Watchdog(told, clock, app.inflow.is_at_work)
        watchdog.start()
        server.start()
        channel.tell(Ready())
        stop, ended = asyncio.create_task(asked.wait()), asyncio.create_task(server.ended())
        others = wiring.follow_clock(store, clock, told), wiring.watch_engines(store, clock, told)
        async with _beside(_watch(store, told), _watch_key(plan, told), _beat(channel), *others):
            await asyncio.wait([stop, ended], return_when=asyncio.FIRST_COMPLETED)
            if not asked.is_set():
                raise RuntimeError("the HTTP server ended by itself")
            app.stop()
            await server.stop(plan.grace_seconds)
        watchdog.stop()


async def serve_engine(plan: Plan, channel: Channel, told: Telemetry) -> None:
    """Executes tasks until it is asked to stop; then winds down in order."""
    _tell_of_strays(told)
    clock = wiring.build_clock(plan.database, "early")
    build = partial(
        wiring.build_store,
        plan.database,
        plan.cipher_keys,
        clock,
        durable=False,
        key_file=plan.key_file,
        role="engine",
    )
    async with _opened(build, plan, clock, told) as store:
        engine = wiring.build_engine(plan, store, clock, told)
        if not channel.again:  # who starts a server is told at once; one that runs goes on with what it can do
            await engine.prepare()

        def take_over(plan: Plan) -> None:
            _take_over(plan, store, told)
            engine.relog(plan.log.level)

        channel.follow(take_over)
        _on_stop(engine.stop)
        running = asyncio.create_task(engine.run())
        channel.tell(Ready())
        async with _beside(_watch(store, told), _watch_key(plan, told), _beat(channel)):
            await running


_ROLES: Final = {"api": serve_api, "engine": serve_engine}


def main(arguments: Sequence[str]) -> int:
    """Does the work of one role. The exit status."""
    role, fd, *more = arguments
    channel = Channel(int(fd), more == [AGAIN])
    plan = channel.plan()
    channel.end_with_the_supervisor()
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(*_GC_THRESHOLDS)
    told = wiring.telemetry(plan.log)
    try:
        uvloop.run(_ROLES[role](plan, channel, told))
    except TasksServerError as error:
        channel.tell(Failed(texts.fitting(error.message, VALUE_LENGTH_MAX), exit_codes.of(error)))
        return exit_codes.of(error)
    except Exception as error:
        told.emit(Unexpected.of(f"serve as {role}", error))
        return exit_codes.REFUSED
    return exit_codes.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
