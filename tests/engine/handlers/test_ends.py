"""What does not end by itself, and processes that end: time that is over, cancelling, crashes, replacement."""

import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.engine.handlers import crew, pool
from tests.engine.handlers.driver import Driver, lives, until, working

pytestmark = pytest.mark.process

SLOW = """
@handlers.register("sleepy")
async def sleepy(payload):
    tell("begun")
    try:
        await asyncio.sleep(3600)
    finally:
        tell("cleaned")

@handlers.register("patient")
def patient(payload, context: Context):
    tell("begun")
    try:
        while not context.cancelled.wait(3600): ...
    finally:
        tell("cancelled", context.is_cancelled())

@handlers.register("loop")
def loop(payload):
    tell("begun")
    try:
        while True: time.sleep(0.001)
    finally:
        tell("cleaned")

@handlers.register("deaf")
def deaf(payload):
    tell("begun")
    time.sleep(3600)

@handlers.register("stubborn")
async def stubborn(payload):
    tell("begun")
    while True:
        try: await asyncio.sleep(3600)
        except asyncio.CancelledError: ...

@handlers.register("just-in-time")
async def just_in_time(payload):
    try: await asyncio.sleep(3600)
    except asyncio.CancelledError: return "done anyway"

@handlers.register("block")
async def block(payload):
    tell("begun")
    time.sleep(3600)

@handlers.register("wait")
async def wait(payload):
    tell(f"waits-{payload}")
    while not (HERE / payload).exists(): await asyncio.sleep(0.01)
    return "waited"

@handlers.register("wait-sync")
def wait_sync(payload):
    tell(f"waits-{payload}")
    while not (HERE / payload).exists(): time.sleep(0.01)
    return "waited"

@handlers.register("pid")
async def pid(payload): return os.getpid()

@handlers.register("nap")
async def nap(payload):
    await asyncio.sleep(payload)
    return True
"""


def timed_out(ms: int) -> Outcome:
    return Outcome(OutcomeKind.TIMEOUT, 408, f"the handler did not end within {ms} ms")


@pytest.mark.parametrize("isolation", ["shared", "task"])
@pytest.mark.parametrize(("name", "fact"), [("sleepy", "cleaned"), ("patient", ""), ("loop", "")])
def test_what_takes_too_long_is_stopped(tmp_path: Path, isolation: Any, name: str, fact: str) -> None:
    with working(tmp_path, SLOW, isolation=isolation) as driver:
        before = driver.result("pid")
        assert driver.run(name, timeout_ms=1_000) == timed_out(1_000)
        if fact:
            driver.told(fact)
        after = driver.result("pid")
        assert (before == after) == (isolation == "shared" or name == "sleepy"), "whether its process had to end"


def test_a_handler_in_a_thread_can_clean_up(tmp_path: Path) -> None:
    with working(tmp_path, SLOW) as driver:
        tokens = [driver.send("loop", timeout_ms=1_500), driver.send("patient", timeout_ms=1_500)]
        assert driver.wait(*tokens) == [timed_out(1_500)] * 2
        assert driver.told("cleaned") == ""
        assert driver.told("cancelled") == "True"


@pytest.mark.parametrize("name", ["deaf", "stubborn"])
def test_what_does_not_stop_costs_its_process_but_not_its_neighbours(tmp_path: Path, name: str) -> None:
    with working(tmp_path, SLOW) as driver:
        neighbours = [driver.send("wait", "go"), driver.send("wait-sync", "go")]
        driver.told("waits-go")
        before = driver.result("pid")
        assert driver.run(name, timeout_ms=1_000) == timed_out(1_000)
        assert driver.result("pid") != before, "another process takes what comes"
        assert lives(before)
        (tmp_path / "go").touch()
        assert [outcome.kind for outcome in driver.wait(*neighbours)] == [OutcomeKind.SUCCESS] * 2
        until(lambda: not lives(before), "the end of the process that nobody needs")
        (event,) = driver.events("runner_retired")
        assert event["reason"] == f"the handler {name} did not stop when it was told to"


def test_a_result_that_comes_just_in_time_counts(tmp_path: Path) -> None:
    with working(tmp_path, SLOW) as driver:
        assert driver.run("just-in-time", timeout_ms=1_500) == Outcome(
            OutcomeKind.SUCCESS, 200, response=b'"done anyway"'
        )


def test_a_coroutine_that_blocks_is_found_by_its_neighbours(tmp_path: Path) -> None:
    """The one who blocks is to blame, not the first whose time is over; the others are given back uncounted."""
    with working(tmp_path, SLOW) as driver:
        before = driver.result("pid")
        first, second = driver.send("wait", "a", timeout_ms=1_500), driver.send("wait", "b")
        driver.told("waits-a")
        driver.told("waits-b")
        culprit = driver.send("block")
        blamed, *others = driver.wait(culprit, first, second)
        assert (blamed.kind, blamed.status_code) == (OutcomeKind.HANDLER_ERROR, 500)
        assert "blocked the event loop" in (blamed.error or "")
        assert [outcome.kind for outcome in others] == [OutcomeKind.INTERRUPTED] * 2
        assert driver.result("pid") != before


def test_a_coroutine_that_blocks_alone_is_stopped(tmp_path: Path) -> None:
    with working(tmp_path, SLOW) as driver:
        outcome = driver.run("block", timeout_ms=1_000)
        assert (outcome.kind, outcome.no_retry) == (OutcomeKind.HANDLER_ERROR, False)
        assert driver.result("pid")


def test_runs_in_threads_outlive_a_blocked_loop(tmp_path: Path) -> None:
    with working(tmp_path, SLOW) as driver:
        thread, coroutine = driver.send("wait-sync", "go"), driver.send("wait", "never", timeout_ms=1_500)
        driver.told("waits-go")
        driver.told("waits-never")
        assert driver.run("block").kind is OutcomeKind.HANDLER_ERROR
        assert driver.result("nap", 1.5), "by another process, for longer than our patience"
        assert coroutine not in driver.done, "its time is over, but not by its own doing"
        (tmp_path / "go").touch()
        waited, given_back = driver.wait(thread, coroutine)
        assert (waited.response, given_back.kind) == (b'"waited"', OutcomeKind.INTERRUPTED)


@pytest.mark.parametrize("isolation", ["shared", "task"])
@pytest.mark.parametrize("name", ["sleepy", "loop", "deaf", "stubborn"])
def test_an_aborted_run_is_stopped_and_told_of_to_nobody(tmp_path: Path, isolation: Any, name: str) -> None:
    with working(tmp_path, SLOW, isolation=isolation) as driver:
        token = driver.send(name)
        driver.told("begun")
        driver.pool.abort([token, 12_345])
        if name in ("sleepy", "loop") and isolation == "shared":
            driver.told("cleaned")
        assert driver.result("pid")
        assert token not in driver.done


def test_a_stop_cancels_what_runs(tmp_path: Path) -> None:
    with working(tmp_path, SLOW) as driver:
        gone = [driver.send("sleepy")]
        driver.told("begun")
        gone += [driver.send("deaf"), driver.send("wait", "never"), driver.send("pid", start_at=2**50)]
        driver.told("waits-never")
        done = driver.send("just-in-time")
        aborted = driver.send("wait", "aborted")
        driver.told("waits-aborted")
        driver.pool.abort([aborted])
        driver.pool.stop()
        assert (tmp_path / "cleaned").exists(), "what runs ends before it is given back"
        assert {outcome.kind for outcome in driver.wait(*gone)} == {OutcomeKind.INTERRUPTED}
        assert driver.wait(done)[0].kind is OutcomeKind.SUCCESS
        assert aborted not in driver.done


CRASHING = """
@handlers.register("exit")
def exit_(payload): os._exit(payload)

@handlers.register("kill")
async def kill(payload): os.kill(os.getpid(), signal.SIGKILL)

@handlers.register("close")
def close(payload): os.closerange(3, 1000)

@handlers.register("fork")
def fork(payload):
    if os.fork() == 0:
        time.sleep(3600)  # with our sockets open
    os._exit(4)

@handlers.register("wait")
async def wait(payload):
    tell("waits")
    await asyncio.sleep(3600)

@handlers.register("pid")
def pid(payload): return os.getpid()

@handlers.register("slow")
async def slow(payload):
    tell("slow")
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)
    return os.getpid()

@handlers.register("child")
def child(payload):
    import subprocess
    tell("child", subprocess.Popen(["sleep", "3600"]).pid)
    time.sleep(3600)
"""


@pytest.mark.parametrize(
    ("name", "how"),
    [("exit", "exit status 3"), ("kill", "killed by SIGKILL, as when memory runs out"), ("fork", "exit status 4")],
)
def test_the_end_of_a_process_is_the_end_of_its_run(tmp_path: Path, name: str, how: str) -> None:
    with working(tmp_path, CRASHING) as driver:
        crashed = Outcome(OutcomeKind.CRASHED, 500, f"the process in which the handler ran has ended: {how}")
        assert driver.run(name, 3) == crashed
        assert driver.result("pid"), "another process takes its place"
        assert [event["how"] for event in driver.events("process_died")] == [how]


def test_a_task_pays_for_no_crash_of_another(tmp_path: Path) -> None:
    with working(tmp_path, CRASHING) as driver:
        neighbour = driver.send("wait", task_id="INNOCENT")
        driver.told("waits")
        guilty = driver.send("exit", 3, task_id="GUILTY")
        first = driver.wait(neighbour, guilty)
        assert [outcome.kind for outcome in first] == [OutcomeKind.INTERRUPTED] * 2, "nobody knows whose fault it was"
        assert [outcome.error for outcome in first] == [pool._UNCLEAR.error] * 2
        again = driver.send("slow", task_id="INNOCENT")
        driver.told("slow")
        other = driver.result("pid")
        guilty = driver.send("exit", 3, task_id="GUILTY")
        (driver.folder / "go").touch()
        innocent, crashed = driver.wait(again, guilty)
        assert crashed.kind is OutcomeKind.CRASHED, "alone in its process, it is found out"
        assert innocent.response is not None
        assert msgspec.json.decode(innocent.response) != other, "who is under suspicion has a process of its own"
        assert driver.result("pid") == other, "and the others go on"
        assert driver.result("pid", task_id="INNOCENT") == other, "what went well alone is under suspicion no more"
        assert driver.result("pid", task_id="GUILTY") != other
        assert driver.result("pid", task_id="GUILTY") == other


def test_alone_in_its_process_a_run_takes_no_other_with_it(tmp_path: Path) -> None:
    with working(tmp_path, CRASHING, isolation="task", processes=2) as driver:
        neighbour = driver.send("wait")
        driver.told("waits")
        assert driver.run("exit", 3).kind is OutcomeKind.CRASHED
        assert driver.result("pid")
        assert neighbour not in driver.done


def test_a_process_that_cannot_be_heard_any_more_is_ended(tmp_path: Path) -> None:
    with working(tmp_path, CRASHING) as driver:
        assert driver.run("close").kind is OutcomeKind.CRASHED
        assert driver.result("pid")


def test_what_a_handler_started_ends_with_its_process(tmp_path: Path) -> None:
    with working(tmp_path, CRASHING, isolation="task") as driver:
        token = driver.send("child", timeout_ms=2_000)
        child = int(driver.told("child"))
        (outcome,) = driver.wait(token)
        assert outcome.kind is OutcomeKind.TIMEOUT
        until(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text(), "its end")


def test_a_process_is_replaced_after_so_many_runs(tmp_path: Path) -> None:
    with working(tmp_path, SLOW, calls_max=3) as driver:
        waiting = driver.send("wait", "go")
        driver.told("waits-go")
        pids: list[int] = []
        while len(set(pids)) < 4:
            pids.append(driver.result("pid"))
        assert lives(pids[0]), "it ends when its last run has"
        (tmp_path / "go").touch()
        assert driver.wait(waiting)[0].kind is OutcomeKind.SUCCESS
        until(lambda: not lives(pids[0]), "the end of the worn process")
        assert driver.events("process_died") == []


def test_alone_each_process_has_one_run(tmp_path: Path) -> None:
    with working(tmp_path, SLOW, isolation="task", processes=2) as driver:
        driver.until_known(lambda known: bool(known) and len(driver.events("handlers_loaded")) == 2)
        assert {one.concurrency_max for one in driver.known().values()} == {2}
        assert driver.pool.runs_max() == 2
        tokens = [driver.send("wait", "a"), driver.send("wait-sync", "b"), driver.send("pid")]
        driver.told("waits-a")
        driver.told("waits-b")
        assert driver.done == {}, "the third has to wait"
        (tmp_path / "a").touch()
        driver.wait(tokens[0], tokens[2])
        (tmp_path / "b").touch()
        driver.wait(*tokens)


def test_handlers_that_cannot_be_imported_any_more_are_tried_again(tmp_path: Path) -> None:
    with working(tmp_path, CRASHING) as driver:
        text = driver.module.read_text()
        driver.module.write_text("raise RuntimeError('half a deployment')")
        driver.run("exit", 3)
        until(lambda: bool(driver.events("handlers_not_loaded")), "the failure")
        driver.until_known(lambda known: not known)
        driver.module.write_text(text)
        driver.until_known(lambda known: "@pid" in known)
        assert driver.result("pid")
        assert "half a deployment" in driver.events("handlers_not_loaded")[0]["error"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("os._exit(7)", "the process that imports them has ended: exit status 7"),
        ("while not (HERE / 'go').exists(): time.sleep(0.01)", "the import of tasks_"),
    ],
)
def test_where_nobody_waits_for_the_first_import_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: str
) -> None:
    monkeypatch.setattr(crew, "_IMPORT_SECONDS", 0.2 if "while" in text else crew._IMPORT_SECONDS)
    driver = Driver(tmp_path, text)
    module = driver.module.read_text()
    driver.pool.start(driver._on_done, driver._on_change, driver._on_noted)
    try:
        until(lambda: driver.pool.trouble() is not None, "the trouble")
        first = driver.pool.trouble()
        assert first is not None
        assert first.error.startswith(error)
        assert driver.changes > 0, "whoever wants to know is told"
        assert driver.known() == {}
        driver.module.write_text(module.replace(text, "") + CRASHING)
        (tmp_path / "go").touch()
        driver.until_known(lambda known: "@pid" in known)
        assert driver.pool.trouble() is None
        assert driver.result("pid")
    finally:
        driver.pool.stop()


def test_trouble_has_a_beginning(tmp_path: Path) -> None:
    with working(tmp_path, CRASHING) as driver:
        assert driver.pool.trouble() is None
        driver.module.write_text("raise RuntimeError('half a deployment')")
        driver.run("exit", 3)
        until(lambda: len(driver.events("handlers_not_loaded")) >= 2, "failures, one after the other")
        trouble = driver.pool.trouble()
        assert trouble is not None
        first, *_ = driver.events("handlers_not_loaded")
        assert trouble.error == "RuntimeError: half a deployment"
        assert datetime.fromtimestamp(trouble.since / 1_000, UTC) <= datetime.fromisoformat(first["at"])


def test_a_run_that_nobody_can_take_is_given_back(tmp_path: Path) -> None:
    with working(tmp_path, CRASHING) as driver:
        driver.module.write_text("raise RuntimeError('half a deployment')")
        driver.run("exit", 3)
        until(lambda: len(driver.events("handlers_not_loaded")) >= 3, "failures, one after the other")
        outcome = driver.run("pid")
        assert outcome.kind is OutcomeKind.INTERRUPTED


def test_signals_that_mean_the_server_do_not_end_runs(tmp_path: Path) -> None:
    with working(tmp_path, SLOW) as driver:
        token = driver.send("wait", "go")
        driver.told("waits-go")
        pid = driver.result("pid")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
        assert driver.result("pid") == pid
        (tmp_path / "go").touch()
        assert driver.wait(token)[0].kind is OutcomeKind.SUCCESS


def test_runs_do_not_wait_for_an_import_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "while (HERE / 'hang').exists(): time.sleep(0.01)\n" + CRASHING
    with working(tmp_path, text) as driver:
        (tmp_path / "hang").touch()
        monkeypatch.setattr(crew, "_START_SECONDS", 0.5)
        driver.run("exit", 3)
        outcome = driver.run("pid")
        assert (outcome.kind, outcome.error) == (
            OutcomeKind.INTERRUPTED, "given back: no process is ready to run this handler",
        )  # fmt: skip
        (tmp_path / "hang").unlink()
        driver.until_known(lambda known: "@pid" in known)
        assert driver.result("pid")


def test_a_fault_of_ours_leaves_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda told: faults.append(str(told.exc_value)))

    def fail() -> None:
        raise RuntimeError("a bug")

    with working(tmp_path, SLOW) as driver:
        token = driver.send("wait", "go")
        driver.told("waits-go")
        monkeypatch.setattr(driver.pool._crew, "tidy", fail)
        later = driver.send("pid")
        first, second = driver.wait(token, later)
        assert (first.kind, second.kind) == (OutcomeKind.INTERRUPTED, OutcomeKind.INTERRUPTED)
        driver.pool.stop()
        with pytest.raises(RuntimeError, match="the thread for handlers has ended"):
            driver.send("pid")
    assert faults == ["a bug"]
