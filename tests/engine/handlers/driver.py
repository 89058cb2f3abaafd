"""A pool over real runners, for a module of handlers that the test writes."""

import contextlib
import itertools
import os
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tasks_server.clock import SystemClock
from tasks_server.domain.attempt import Outcome
from tasks_server.domain.notes import Notes
from tasks_server.engine.calls import Done
from tasks_server.engine.handlers.crew import CrewPlan, Isolation
from tasks_server.engine.handlers.pool import HandlerPool
from tasks_server.engine.runs import Known, Run
from tasks_server.handlers.frames import Start
from tasks_server.telemetry import Telemetry

DEADLINE_SECONDS = 60.0
RESULT_BYTES_MAX = 1_000
_modules = itertools.count(1)

HEAD = """
import asyncio, os, signal, sys, time, threading
from pathlib import Path
from tasks_server import handlers, Context, Retry, Permanent

HERE = Path(__file__).parent

def tell(name, text=""):
    part = HERE / f"{name}.{threading.get_ident()}.part"
    part.write_text(str(text))
    part.rename(HERE / name)

"""


def until(fact: Callable[[], bool], what: str) -> None:
    """Waits for a fact that another process or thread brings about."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not fact():
        assert time.monotonic() < deadline, f"in vain waited for: {what}"
        time.sleep(0.005)


def write_module(folder: Path, text: str) -> str:
    """A module of this text below what every module here needs. Its name."""
    name = f"tasks_{next(_modules)}"
    (folder / f"{name}.py").write_text(HEAD + textwrap.dedent(text))
    return name


class Driver:
    """Sends runs to a pool and waits for their ends. Facts that handlers tell are files in `folder`."""

    def __init__(
        self,
        folder: Path,
        text: str,
        processes: int = 1,
        isolation: Isolation = "shared",
        calls_max: int | None = None,
    ) -> None:
        self.folder = folder
        self.module = folder / f"{write_module(folder, text)}.py"
        self.lines: list[bytes] = []
        self.clock = SystemClock()
        start = Start([self.module.stem], os.fsencode(folder), RESULT_BYTES_MAX, "debug", "json")
        told = Telemetry(self.clock, "debug", "json", write=self.lines.append)
        self.pool = HandlerPool(CrewPlan(start, processes, isolation, calls_max), self.clock, told)
        self.changes = 0
        self.done: dict[int, Done] = {}
        self.noted: dict[int, Notes] = {}
        self._more = threading.Condition()
        self._tokens = itertools.count(1)

    def start(self) -> None:
        self.pool.prepare()
        self.pool.start(self._on_done, self._on_change, self._on_noted)

    def _on_done(self, batch: list[Done]) -> None:
        with self._more:
            for done in batch:
                assert done.token not in self.done, "each run ends once"
                self.done[done.token] = done
            self._more.notify_all()

    def _on_change(self) -> None:
        with self._more:
            self.changes += 1
            self._more.notify_all()

    def _on_noted(self, batch: dict[int, Notes]) -> None:
        self.noted |= batch

    def make(self, name: str, payload: Any = None, **other: Any) -> Run:
        token = next(self._tokens)
        fields: dict[str, Any] = {
            "token": token, "name": name, "payload": msgspec.json.encode(payload), "task_id": f"TASK{token}",
            "attempt": 1, "failures": 0, "created_at": 1_000, "due_at": 2_000, "start_at": 0, "timeout_ms": 30_000,
            "keep_result": True,
        }  # fmt: skip
        return Run(**(fields | other))

    def send(self, name: str, payload: Any = None, **other: Any) -> int:
        run = self.make(name, payload, **other)
        self.pool.send([run])
        return run.token

    def wait(self, *tokens: int) -> list[Outcome]:
        """How these runs ended, once they have."""
        with self._more:
            ended = self._more.wait_for(lambda: all(token in self.done for token in tokens), DEADLINE_SECONDS)
        assert ended, f"these did not end: {[token for token in tokens if token not in self.done]}"
        return [self.done[token].outcome for token in tokens]

    def run(self, name: str, payload: Any = None, **other: Any) -> Outcome:
        """How one run ended."""
        (outcome,) = self.wait(self.send(name, payload, **other))
        return outcome

    def result(self, name: str, payload: Any = None, **other: Any) -> Any:
        """What a run that succeeded gave."""
        outcome = self.run(name, payload, **other)
        assert outcome.kind == "success", outcome
        return None if outcome.response is None else msgspec.json.decode(outcome.response)

    def told(self, name: str) -> str:
        """What a handler told, once it has."""
        until((self.folder / name).exists, f"the handler to tell {name}")
        return (self.folder / name).read_text()

    def known(self) -> Mapping[str, Known]:
        return self.pool.known()

    def until_known(self, fact: Callable[[Mapping[str, Known]], bool]) -> None:
        with self._more:
            assert self._more.wait_for(lambda: fact(self.known()), DEADLINE_SECONDS)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of this name that the engine told of."""
        every = [msgspec.json.decode(line) for line in self.lines]
        return [event for event in every if event["event"] == name]


@contextlib.contextmanager
def working(folder: Path, text: str, **options: Any) -> Iterator[Driver]:
    """A pool that is stopped at the end, with nothing left of its processes."""
    driver = Driver(folder, text, **options)
    try:
        driver.start()
        yield driver
    finally:
        driver.pool.stop()
    pids = [event["pid"] for event in driver.events("handlers_loaded")]
    assert pids
    assert not [pid for pid in pids if lives(pid)]


def lives(pid: int) -> bool:
    """Whether the process is there; one that only waits to be reaped is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
