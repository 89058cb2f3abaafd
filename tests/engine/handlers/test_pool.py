"""What becomes of a run, by real runner processes: results, errors, log lines; and what becomes of an import."""

import os
import threading
from pathlib import Path

import msgspec
import pytest

from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.errors import HandlersFailed
from tasks_server.engine.handlers import crew
from tasks_server.engine.runs import Known
from tests.engine.handlers.driver import Driver, until, working

pytestmark = pytest.mark.process

PLAIN = """
@handlers.register("double")
async def double(payload: int) -> int:
    await asyncio.sleep(0)
    return payload * 2

@handlers.register("double-sync")
def double_sync(payload: int) -> int:
    return payload * 2

@handlers.register("where")
def where(payload, context: Context):
    return {"pid": os.getpid(), "thread": threading.current_thread() is threading.main_thread()}

@handlers.register("about")
async def about(payload, context: Context):
    return [context.task_id, context.name, context.attempt, context.failures, context.created_at, context.due_at,
            round(context.remaining), context.is_cancelled(), context.metadata]

@handlers.register("default-value")
def default_value(payload="none given"): return payload

@handlers.register("nothing")
async def nothing(): return "ran"
"""


def test_results_come_back(tmp_path: Path) -> None:
    with working(tmp_path, PLAIN) as driver:
        assert [driver.result(name, 21) for name in ("double", "double-sync")] == [42, 42]
        where = driver.result("where")
        assert where["pid"] != os.getpid(), "users' code does not run in the engine"
        assert where["thread"] is False
        assert driver.result("about", attempt=3, failures=2, timeout_ms=60_000, metadata={"a": "b"}) == [
            f"TASK{len(driver.done)}", "about", 3, 2, "1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z", 60, False,
            {"a": "b"},
        ]  # fmt: skip
        assert driver.result("default-value") == "none given"
        assert driver.result("default-value", "this") == "this"
        assert driver.result("nothing", {"ignored": 1}) == "ran"
        assert driver.run("double", 21, keep_result=False) == Outcome(OutcomeKind.SUCCESS, 200)


FAILING = """
@handlers.register("raise")
async def raise_(payload): raise ValueError(payload)

@handlers.register("raise-sync")
def raise_sync(payload): raise ValueError(payload)

@handlers.register("leave")
def leave(payload): sys.exit(payload)

@handlers.register("leave-async")
async def leave_async(payload): raise SystemExit(payload)

@handlers.register("cancel-itself")
async def cancel_itself(payload): raise asyncio.CancelledError

@handlers.register("retry")
async def retry(payload): raise Retry("busy", after=payload)

@handlers.register("permanent")
def permanent(payload): raise Permanent(payload)

@handlers.register("number")
def number(payload: int): return payload

@handlers.register("strange")
async def strange(payload): return object()

@handlers.register("large")
def large(payload): return "x" * payload
"""


def test_what_is_raised_is_told(tmp_path: Path) -> None:
    with working(tmp_path, FAILING) as driver:
        for name in ("raise", "raise-sync"):
            outcome = driver.run(name, "hu")
            assert (outcome.kind, outcome.status_code, outcome.no_retry) == (OutcomeKind.HANDLER_ERROR, 500, False)
            error = outcome.error or ""
            assert error.startswith(f"ValueError: hu ({driver.module}:"), error
            assert error.endswith(f" in {name.replace('-', '_').replace('raise', 'raise_').replace('__', '_')})"), error
        for name in ("leave", "leave-async"):
            assert (driver.run(name, 3).error or "").startswith("SystemExit: 3")
        assert (driver.run("cancel-itself").error or "").startswith("CancelledError")
        long = driver.run("raise", "x" * 5_000).error or ""
        assert len(long) <= 500
        assert long.endswith(" in raise_)")


def test_handlers_steer_their_retries(tmp_path: Path) -> None:
    with working(tmp_path, FAILING) as driver:
        assert driver.run("retry", 2.5) == Outcome(OutcomeKind.HANDLER_ERROR, 500, "busy", wait_ms=2_500)
        assert driver.run("retry", None) == Outcome(OutcomeKind.HANDLER_ERROR, 500, "busy")
        assert driver.run("permanent", "no such user") == Outcome(
            OutcomeKind.HANDLER_ERROR, 500, "no such user", no_retry=True
        )
        assert driver.run("number", "seven") == Outcome(
            OutcomeKind.HANDLER_ERROR, 422, "payload: Expected `int`, got `str`", no_retry=True
        )


def test_a_result_that_cannot_be_kept_is_no_failure(tmp_path: Path) -> None:
    """The work is done; doing it again would mend nothing."""
    with working(tmp_path, FAILING) as driver:
        large, strange = driver.run("large", 2_000), driver.run("strange")
        assert (large.kind, large.response) == (strange.kind, strange.response) == (OutcomeKind.SUCCESS, None)
        assert large.error == "the result is not kept: it has 2002 bytes, 1000 are kept at most"
        assert (strange.error or "").startswith("the result is not kept: it is no JSON")


def test_runs_do_not_begin_early_and_may_be_aborted_before(tmp_path: Path) -> None:
    with working(tmp_path, PLAIN) as driver:
        start_at = driver.clock.now() + 300
        aborted = driver.send("double", 1, start_at=start_at)
        token = driver.send("double", 2, start_at=start_at)
        driver.pool.abort([aborted])
        driver.wait(token)
        assert driver.done[token].started_at >= start_at
        assert aborted not in driver.done


def test_a_run_whose_time_is_far_because_the_clock_was_set_back_is_given_back(tmp_path: Path) -> None:
    with working(tmp_path, PLAIN) as driver:
        token = driver.send("double", 1, start_at=driver.clock.now() + 3_600_000)
        (outcome,) = driver.wait(token)
        assert outcome.kind is OutcomeKind.INTERRUPTED
        assert "the clock was set back" in (outcome.error or "")
        assert driver.run("double", 2).kind is OutcomeKind.SUCCESS


def test_a_thousand_runs_at_once(tmp_path: Path) -> None:
    with working(tmp_path, PLAIN, processes=2) as driver:
        runs = [driver.make("double" if number % 2 else "double-sync", number) for number in range(1_000)]
        driver.pool.send(runs)
        outcomes = driver.wait(*(run.token for run in runs))
        assert [msgspec.json.decode(outcome.response or b"") for outcome in outcomes] == [
            number * 2 for number in range(1_000)
        ]


def test_more_than_a_socket_holds_at_once(tmp_path: Path) -> None:
    with working(tmp_path, PLAIN) as driver:
        runs = [driver.make("default-value", "x" * 900) for _ in range(5)]
        runs += [driver.make("nothing", "x" * 100_000) for _ in range(300)]
        driver.pool.send(runs)
        assert {outcome.kind for outcome in driver.wait(*(run.token for run in runs))} == {OutcomeKind.SUCCESS}


LIMITS = """
@handlers.register("all", timeout=60, max_retries=5, retry_delay=2, backoff="fixed", concurrency=10)
async def all_(payload): ...

@handlers.register("none")
async def none(payload): ...

@handlers.register("none-sync")
def none_sync(payload): ...
"""


def test_registrations_are_known(tmp_path: Path) -> None:
    with working(tmp_path, LIMITS) as driver:
        known = driver.known()
        assert known["@all"] == Known(10, 60_000, 5, 2_000, "fixed")
        assert known["@none"] == Known(256)
        assert known["@none-sync"].concurrency_max == 32
        assert driver.pool.runs_max() is None


def failed(folder: Path, text: str) -> str:
    driver = Driver(folder, text)
    with pytest.raises(HandlersFailed) as caught:
        driver.start()
    driver.pool.stop()
    assert driver.events("process_died") == [], "one thing is told once"
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it' (modules are looked for in"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("", "NoHandlers: no handler is registered by tasks_"),
        ("@handlers.register('a b')\\ndef f(payload): ...", "ValueError: handler 'a b': a name is 1 to 64"),
        ("@handlers.register('a')\\ndef f(payload: threading.Thread): ...", "TypeError: handler 'a': its payload"),
        ("os._exit(7)", "the process that imports the handlers has ended: exit status 7"),
    ],
)
def test_what_cannot_be_imported_is_told(tmp_path: Path, text: str, told: str) -> None:
    message = failed(tmp_path, text.replace("\\n", "\n"))
    assert told in message
    if "ZeroDivision" in told:
        assert "1 / 0" in message, "where it was is shown"
    assert "importlib" not in message


def test_an_import_that_takes_long_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_IMPORT_SECONDS", 0.05)
    driver = Driver(tmp_path, "while not (HERE / 'go').exists(): time.sleep(0.01)\n" + LIMITS)
    starting = threading.Thread(target=driver.start)
    starting.start()
    try:
        until(lambda: bool(driver.events("handlers_importing")), "the line")
        assert driver.known() == {}
        (tmp_path / "go").touch()
        starting.join()
        assert driver.known()
    finally:
        (tmp_path / "go").touch()
        driver.pool.stop()


NOISY = """
import logging, warnings
print("a module that prints")
sys.stderr.write("and complains\\n")
sys.stdin.read()

@handlers.register("print")
def print_(payload):
    print(payload)
    sys.stdout.flush()
    return payload
"""


def test_printing_disturbs_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with working(tmp_path, NOISY) as driver:
        assert driver.result("print", "hello") == "hello"
    told = capfd.readouterr()
    assert told.out == "a module that prints\nhello\n"
    assert "and complains\n" in told.err


LOGGING = """
import logging

@handlers.register("log")
async def log(payload, context: Context):
    logging.getLogger("shop").info("by the library")
    logging.getLogger("shop").debug("a detail")
    context.logger.warning("by the context: %s", payload)
    try: 1 / 0
    except ZeroDivisionError: logging.getLogger("shop").exception("caught")

@handlers.register("log-sync")
def log_sync(payload): logging.getLogger("shop").error("from a thread")

@handlers.register("raise")
def raise_(payload): raise KeyError(payload)
"""


def test_lines_of_handlers_name_their_task(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with working(tmp_path, LOGGING) as driver:
        for name in ("log", "log-sync", "raise"):
            driver.run(name, "it")
    lines = [msgspec.json.decode(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    told = [
        (line["level"], line["event"], line["task"], line.get("logger"), line.get("message"))
        for line in lines
        if line.get("logger") != "asyncio"
    ]
    assert told == [
        ("info", "handler_line", "TASK1", "shop", "by the library"),
        ("debug", "handler_detail", "TASK1", "shop", "a detail"),
        ("warning", "handler_warning", "TASK1", "handlers.log", "by the context: it"),
        ("error", "handler_problem", "TASK1", "shop", "caught"),
        ("error", "handler_problem", "TASK2", "shop", "from a thread"),
        ("warning", "handler_failed", "TASK3", None, None),
    ]
    traces = [line["trace"] for line in lines if line.get("trace")]
    assert ["ZeroDivisionError" in traces[0], "KeyError" in traces[1]] == [True, True]
    assert "work.py" not in traces[1], "our own part of it is left out"


NOTING = """
@handlers.register("note")
async def note(payload, context: Context):
    context.progress(0.25, "began")
    context.log("one")
    while not os.path.exists(payload):
        await asyncio.sleep(0.01)
    context.log("two")
    context.progress(1)

@handlers.register("note-sync")
def note_sync(payload, context: Context):
    context.log("in a thread")
    raise ValueError("over")
"""


def test_what_a_run_notes_is_told_while_it_runs_and_at_its_end(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with working(tmp_path, NOTING) as driver:
        token = driver.send("note", str(go))
        until(lambda: token in driver.noted, "the run to note something")
        noted = driver.noted[token]
        assert (noted.progress, noted.message, [line.text for line in noted.lines]) == (0.25, "began", ["one"])
        go.touch()
        driver.wait(token)
        ended = driver.done[token].notes
        assert ended is not None
        assert (ended.progress, ended.message, [line.text for line in ended.lines]) == (1, "began", ["one", "two"])
        failed = driver.send("note-sync")
        driver.wait(failed)
        told = driver.done[failed].notes
        assert told is not None
        assert [line.text for line in told.lines] == ["in a thread"]
