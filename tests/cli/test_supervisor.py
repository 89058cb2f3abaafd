"""The supervisor with scripted children: starting, restarting, stopping, giving up."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tasks_server import supervisor
from tasks_server.supervisor import Orders, restart_wait_seconds
from tests.cli.conftest import DEADLINE_SECONDS, lives, until

pytestmark = pytest.mark.process


class Supervised:
    """A running supervisor, what it printed, and what its children left."""

    def __init__(self, folder: Path, roles: list[str], grace_seconds: float) -> None:
        self.folder = folder
        self.errors = folder / "errors"
        self.out = folder / "out"
        orders = Orders(
            roles=roles,
            command=[sys.executable, str(Path(__file__).with_name("scripted_child.py")), str(folder)],
            plan=msgspec.Raw(b'{"secret":1}'),
            banner="all are ready\n",
            grace_seconds=grace_seconds,
        )
        read, write = os.pipe()
        os.write(write, msgspec.json.encode(orders))
        os.close(write)
        with self.errors.open("wb") as err, self.out.open("wb") as out:
            command = supervisor.python_module("tasks_server.supervisor", str(read))
            self.process = subprocess.Popen(command, pass_fds=[read], stdout=out, stderr=err)
        os.close(read)

    def starts(self, role: str) -> list[int]:
        """The process ids of a role's starts so far."""
        with contextlib.suppress(FileNotFoundError):
            return [int(line.split()[0]) for line in (self.folder / f"{role}.starts").read_text().splitlines()]
        return []

    def is_ready(self) -> bool:
        return self.out.read_text() == "all are ready\n"

    def wait(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def log(self) -> str:
        return self.errors.read_text()


Supervise = Callable[..., Supervised]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    started: list[Supervised] = []

    def start(*roles: str, grace_seconds: float = 30.0) -> Supervised:
        started.append(Supervised(tmp_path, list(roles), grace_seconds))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


def test_it_greets_when_all_are_ready_and_stops_in_order(supervise: Supervise) -> None:
    running = supervise("one", "two")
    until(running.is_ready, "the greeting")
    children = running.starts("one") + running.starts("two")
    assert (running.folder / "one.starts").read_text().endswith('{"secret":1}\n')
    running.process.terminate()
    assert running.wait() == 0
    assert not any(lives(pid) for pid in children)
    assert "stopping" in running.log()
    assert running.log().count("process stopped") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_stop_in_order_too(supervise: Supervise, number: signal.Signals) -> None:
    running = supervise("one")
    until(running.is_ready, "the greeting")
    running.process.send_signal(number)
    assert running.wait() == 0
    assert f"by={number.name}" in running.log()


def test_a_killed_child_is_started_again_at_once(supervise: Supervise) -> None:
    running = supervise("one", "two")
    until(running.is_ready, "the greeting")
    os.kill(running.starts("one")[0], signal.SIGKILL)
    until(lambda: len(running.starts("one")) == 2, "the second start")
    assert len(running.starts("two")) == 1
    until(lambda: "how=killed by SIGKILL  restart_in_ms=0" in running.log(), "the event")
    running.process.terminate()
    assert running.wait() == 0
    assert running.is_ready(), "greeted once"


def test_one_that_dies_again_and_again_is_waited_for_longer_each_time(supervise: Supervise) -> None:
    running = supervise("crashes-later")
    until(lambda: len(running.starts("crashes-later")) == 4, "the fourth start")
    log = running.log()
    waits = [log.index(f"exit status 7  restart_in_ms={wait}") for wait in (0, 100, 200)]
    assert waits == sorted(waits)


def test_a_start_that_fails_for_a_reason_says_it_once_and_ends(supervise: Supervise) -> None:
    running = supervise("one", "refuses")
    assert running.wait() == 3, running.log()
    assert running.log().count("tasks-server: the store is on fire\n") == 1
    assert len(running.starts("refuses")) == 1
    assert not running.is_ready()


def test_a_start_that_only_crashes_is_given_up(supervise: Supervise) -> None:
    running = supervise("crashes")
    assert running.wait() == 1
    assert "the crashes process ended 3 times before it was ready (exit status 9)" in running.log()
    assert len(running.starts("crashes")) == 3


def test_a_start_that_fails_and_recovers_is_no_failure(supervise: Supervise) -> None:
    running = supervise("crashes-twice")
    until(running.is_ready, "the greeting")
    running.process.terminate()
    assert running.wait() == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_everything_at_once(supervise: Supervise, number: signal.Signals, status: int) -> None:
    running = supervise("stubborn")
    until(running.is_ready, "the greeting")
    running.process.send_signal(number)
    until(lambda: "stopping" in running.log(), "the first signal")
    running.process.send_signal(number)
    assert running.wait() == status
    assert not lives(running.starts("stubborn")[0])


def test_what_does_not_stop_in_time_is_killed(supervise: Supervise, monkeypatch: pytest.MonkeyPatch) -> None:
    running = supervise("stubborn", "one", grace_seconds=-supervisor.KILL_MARGIN_SECONDS)
    until(running.is_ready, "the greeting")
    running.process.terminate()
    assert running.wait() == 1
    assert "not everything stopped within the grace time" in running.log()
    assert not lives(running.starts("stubborn")[0])


def test_children_end_when_the_supervisor_is_killed(supervise: Supervise) -> None:
    running = supervise("one", "two")
    until(running.is_ready, "the greeting")
    children = running.starts("one") + running.starts("two")
    running.process.kill()
    until(lambda: not any(lives(pid) for pid in children), "the end of the children")


def test_a_program_that_cannot_be_started(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    orders = Orders(roles=["one"], command=[str(tmp_path / "nothing")], plan=msgspec.Raw(b"{}"))
    read, write = os.pipe()
    os.write(write, msgspec.json.encode(orders))
    os.close(write)
    command = supervisor.python_module("tasks_server.supervisor", str(read))
    assert subprocess.run(command, pass_fds=[read], check=False, timeout=DEADLINE_SECONDS).returncode == 1
    os.close(read)
    assert "cannot start the one process" in capfd.readouterr().err


def test_waits_never_grow_beyond_their_bound() -> None:
    waits = [restart_wait_seconds(deaths) for deaths in range(1, 5_000)]
    assert waits == sorted(waits)
    assert waits[-1] == supervisor.LONGEST_WAIT_SECONDS


def test_orders_that_do_not_fit_are_refused_before_anything_ends() -> None:
    orders = Orders(roles=["one"], command=["x"], plan=msgspec.Raw(b'"%s"' % (b"x" * 70_000)))
    with pytest.raises(ValueError, match="too large"):
        supervisor.replace_this_process(orders)
