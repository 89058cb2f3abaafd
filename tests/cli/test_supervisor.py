"""The supervisor with scripted children: starting, restarting, stopping, giving up."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tasks_server import supervisor
from tasks_server.supervisor import Orders, restart_wait_seconds
from tasks_server.telemetry.events import Level
from tests.cli.conftest import DEADLINE_SECONDS, lives, until

pytestmark = pytest.mark.process


class Supervised:
    """A running supervisor, what it printed, and what its children left."""

    def __init__(
        self, folder: Path, roles: list[str], grace_seconds: float, log_level: Level, hung_seconds: float
    ) -> None:
        self.folder = folder
        self.errors = folder / "errors"
        self.out = folder / "out"
        command = [sys.executable, str(Path(__file__).with_name("scripted_child.py")), str(folder)]
        orders = Orders(
            roles=roles,
            command=command,
            plan=msgspec.Raw(b'{"secret":1}'),
            reread=command,
            in_force=msgspec.Raw(b'{"now":1}'),
            log_level=log_level,
            banner="all are ready\n",
            grace_seconds=grace_seconds,
            hung_seconds=hung_seconds,
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

    def start(
        *roles: str, grace_seconds: float = 30.0, log_level: Level = "info", hung_seconds: float = 60.0
    ) -> Supervised:
        started.append(Supervised(tmp_path, list(roles), grace_seconds, log_level, hung_seconds))
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


def test_ctrl_c_stops_in_order_too(supervise: Supervise) -> None:
    running = supervise("one")
    until(running.is_ready, "the greeting")
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
    assert "by=SIGINT" in running.log()


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE])
def test_no_other_signal_stops_it_or_a_child(supervise: Supervise, number: signal.Signals) -> None:
    running = supervise("one")
    until(running.is_ready, "the greeting")
    (child,) = running.starts("one")
    os.kill(child, number)
    running.process.send_signal(number)
    if number != signal.SIGPIPE:  # which tells of nothing
        until(lambda: f"signal ignored     signal={number.name}" in running.log(), "the event")
    running.process.terminate()
    assert running.wait() == 0
    assert running.starts("one") == [child]
    assert "process died" not in running.log()


# Settings


def answer(**fields: object) -> bytes:
    """What the program that reads the settings anew says."""
    known = {"plan": {"secret": 2}, "in_force": {"now": 2}, "log_level": "info", "reloaded": ["LOG_LEVEL"]}
    return msgspec.json.encode({"type": "reread", "restart": [], "warnings": []} | known | fields) + b"\n"


def test_the_settings_are_read_anew_and_children_get_the_plan(supervise: Supervise) -> None:
    running = supervise("one", "two")
    until(running.is_ready, "the greeting")
    (running.folder / "answer").write_bytes(answer(restart=["PORT"], warnings=["a warning"]))
    running.process.send_signal(signal.SIGHUP)
    for role in ("one", "two"):
        told = running.folder / f"{role}.told"
        until(lambda told=told: told.exists() and told.read_text() == '{"secret":2}\n', "the new plan")  # type: ignore[misc]  # a default in a lambda
    assert (running.folder / "settings.asked").read_text() == '{"secret":1}\n{"now":1}\n'
    assert "settings reloaded  settings=LOG_LEVEL" in running.log()
    assert "warning restart needed     settings=PORT" in running.log()
    assert "setting ignored    message=a warning" in running.log()
    os.kill(running.starts("one")[0], signal.SIGKILL)
    until(lambda: len(running.starts("one")) == 2, "the second start")
    until(lambda: (running.folder / "one.starts").read_text().endswith('{"secret":2}\n'), "its plan")


def test_they_are_under_nohup_too(supervise: Supervise) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        running = supervise("one")
    finally:
        signal.signal(signal.SIGHUP, before)
    until(running.is_ready, "the greeting")
    (running.folder / "answer").write_bytes(answer())
    running.process.send_signal(signal.SIGHUP)
    until(lambda: "settings reloaded" in running.log(), "the event")


def test_what_is_asked_while_they_are_read_is_done_once_more(supervise: Supervise) -> None:
    running = supervise("one")
    until(running.is_ready, "the greeting")
    asked = running.folder / "settings.asked"
    running.process.send_signal(signal.SIGHUP)
    until(lambda: asked.exists() and asked.read_text().count("\n") == 2, "the reading")
    for _ in range(5):
        running.process.send_signal(signal.SIGHUP)
    (running.folder / "answer").write_bytes(answer())
    until(lambda: running.log().count("settings reloaded") == 2, "the second reading")
    assert asked.read_text() == '{"secret":1}\n{"now":1}\n{"secret":2}\n{"now":2}\n'
    running.process.terminate()
    assert running.wait() == 0


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b'{"type":"failed","message":"one setting is wrong","exit_code":2}\n', "error=one setting is wrong"),
        (b"", "error=the process that reads them: exit status 0"),
    ],
)
def test_settings_that_cannot_be_read_stay_as_they_are(supervise: Supervise, said: bytes, told: str) -> None:
    running = supervise("one")
    until(running.is_ready, "the greeting")
    (running.folder / "answer").write_bytes(said)
    running.process.send_signal(signal.SIGHUP)
    until(lambda: "settings not reloaded" in running.log(), "the event")
    assert told in running.log()
    running.process.terminate()
    assert running.wait() == 0
    assert running.starts("one") != []


@pytest.mark.parametrize(("before", "after"), [("warning", "info"), ("info", "error")])
def test_that_they_were_read_is_told_under_the_level_before_or_after(
    supervise: Supervise, before: str, after: str
) -> None:
    running = supervise("one", log_level=before)
    until(running.is_ready, "the greeting")
    (running.folder / "answer").write_bytes(answer(log_level=after))
    running.process.send_signal(signal.SIGHUP)
    until(lambda: "settings reloaded" in running.log(), "the event")
    running.process.terminate()
    assert running.wait() == 0
    assert ("stopping" in running.log()) is (after == "info")


def test_a_stop_waits_for_no_reading(supervise: Supervise) -> None:
    running = supervise("one")
    until(running.is_ready, "the greeting")
    running.process.send_signal(signal.SIGHUP)
    until((running.folder / "settings.asked").exists, "the reading")
    running.process.terminate()
    assert running.wait() == 0


# Deaths


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


def test_a_child_that_hangs_is_ended_and_started_again(supervise: Supervise) -> None:
    server = supervise("hangs", "steady", hung_seconds=0.5)
    until(lambda: len(server.starts("hangs")) == 2, "the one that hangs is started again")
    first, _ = server.starts("hangs")
    until(lambda: not lives(first), "it has ended")
    assert re.search(rf"process hung +role=hangs +pid={first} ", server.log())
    assert "killed by SIGKILL" in server.log()
    assert len(server.starts("steady")) == 1, "one that never began to give signs of life is not judged by them"
    server.process.kill()


def test_a_child_that_somebody_stopped_is_left_alone(supervise: Supervise) -> None:
    server = supervise("hangs", hung_seconds=0.5)
    until(server.is_ready, "the server is ready")
    (pid,) = server.starts("hangs")
    os.kill(pid, signal.SIGSTOP)
    until(lambda: "process held" in server.log(), "it is told")
    assert re.search(rf"process held +role=hangs +pid={pid} +state=stopped", server.log())
    assert server.starts("hangs") == [pid]
    os.kill(pid, signal.SIGCONT)
    until(lambda: len(server.starts("hangs")) == 2, "it goes on, and still gives no sign of life")


def test_a_child_learns_whether_the_server_has_been_ready(supervise: Supervise) -> None:
    running = supervise("crashes-twice")
    until(running.is_ready, "the greeting")
    os.kill(running.starts("crashes-twice")[-1], signal.SIGKILL)
    until(lambda: len(running.starts("crashes-twice")) == 4, "the fourth start")
    words = running.folder / "crashes-twice.words"
    until(lambda: words.read_text() == "start\nstart\nstart\nstart again\n", "what it was told")


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
    assert "Traceback" not in running.log()
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
