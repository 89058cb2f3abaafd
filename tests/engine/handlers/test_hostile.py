"""Whatever the text, the wait, the result or the log line of a handler: its run ends at once and as what it was, and
costs nobody else anything.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasks_server.domain import limits
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.errors import HandlersFailed
from tests.engine.handlers import hostile
from tests.engine.handlers.driver import Driver, working
from tests.tidy.documents import ROOT

pytestmark = pytest.mark.process

MODULE = f"sys.path.append({str(ROOT)!r})\nimport tests.engine.handlers.hostile\n"
_gates = itertools.count(1)


def among_bystanders(
    driver: Driver, name: str, payload: dict[str, Any], wrap: Callable[[dict[str, Any]], Any] | None = None
) -> Outcome:
    """How a run ends; bystanders that end in the same moment have what they gave, and their process goes on."""
    gate = next(_gates)
    process = driver.result("gate", gate)
    bystanders = [driver.send(one, gate) for one in ("bystander", "bystander-sync") * 3]
    told = payload | {"gate": gate}
    outcome = driver.run(name, wrap(told) if wrap else told, timeout_ms=30_000)
    expected = Outcome(OutcomeKind.SUCCESS, 200, response=f'"result {gate}"'.encode())
    assert driver.wait(*bystanders) == [expected] * len(bystanders)
    assert driver.result("gate", gate) == process
    assert not driver.events("runner_retired") + driver.events("process_died")
    return outcome


def assert_told(outcome: Outcome) -> None:
    """The text of an ending can be stored and sent."""
    if outcome.error is not None:
        assert len(outcome.error) <= limits.ERROR_LENGTH_MAX
        assert "\0" not in outcome.error
        outcome.error.encode()


def logged(capfd: pytest.CaptureFixture[str]) -> Iterator[dict[str, Any]]:
    """What was logged; all of it is lines of JSON."""
    for line in capfd.readouterr().err.splitlines():
        yield msgspec.json.decode(line)


@pytest.mark.parametrize("name", ["hostile", "hostile-sync"])
def test_whatever_a_handler_does_costs_its_neighbours_nothing(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with working(tmp_path, MODULE) as driver:
        for act in (*hostile.ACTS, hostile.LOG_BY_CONTEXT):
            outcome = among_bystanders(driver, name, {"act": act})
            expected = OutcomeKind.HANDLER_ERROR if act.startswith("raise_") else OutcomeKind.SUCCESS
            assert (act, outcome.kind) == (act, expected), outcome
            assert (act, outcome.status_code) == (act, 500 if act.startswith("raise_") else 200), outcome
            assert bool(outcome.error) or not act.startswith("raise_")
            assert_told(outcome)
    for line in logged(capfd):
        assert line["event"] != "unexpected", line


STRAYS = (
    MODULE
    + """
from tests.engine.handlers.hostile import GATES

@handlers.register("stray", concurrency=1000)
async def stray(payload):
    \"\"\"Ends the event loop of its process in one way or another, were it to end.\"\"\"
    async def leaves(): raise {"exit": SystemExit, "interrupt": KeyboardInterrupt}[payload["how"]]("stray")
    GATES[payload["gate"]].open()
    if payload["how"] == "stop":
        asyncio.get_running_loop().stop()
        return "gone on"
    if payload["how"] == "call":
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        return "gone on"
    try: await asyncio.create_task(leaves())
    except BaseException: return "gone on"

@handlers.register("fork", concurrency=1000)
def fork(payload):
    GATES[payload["gate"]].open()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return "gone on" if child else "the child's"

@handlers.register("fork-async", concurrency=1000)
async def fork_async(payload):
    return fork(payload)

@handlers.register("forget", timeout=60)
async def forget(payload, context: Context):
    context.cancelled = None
    tell("forgot")
    await asyncio.sleep(3600)

@handlers.register("no-more-tasks")
async def no_more_tasks(payload):
    def no(loop, coroutine, **_):
        coroutine.close()
        raise ValueError("no more tasks")
    loop = asyncio.get_running_loop()
    loop.set_task_factory(no)
    tell("no-more")
    while not (HERE / "again").exists():
        await asyncio.sleep(0.01)
    loop.set_task_factory(None)

@handlers.register("log-slowly")
def log_slowly(payload):
    import logging
    class Slow:
        def __str__(self):
            tell("asked")
            while not (HERE / "answer").exists(): time.sleep(0.01)
            return "slow"
    logging.getLogger("slow").info("%s", Slow())

@handlers.register("close-errors")
def close_errors(payload):
    import logging
    kept = os.dup(2)
    os.close(2)
    try:
        with (HERE / "own").open("wb", buffering=0) as own:
            assert own.fileno() == 2
            logging.getLogger("closed").info("no error output")
            own.write(b"mine")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    return (HERE / "own").read_text()
"""
)


JUDGING = (
    MODULE
    + """
import dataclasses, msgspec, pydantic
from tests.engine.handlers.hostile import ERRORS, GATES

def judge(one):
    GATES[one.gate].open()
    raise ERRORS[one.act]()

@dataclasses.dataclass
class Data:
    gate: int
    act: str
    __post_init__ = judge

class Struct(msgspec.Struct):
    gate: int
    act: str
    __post_init__ = judge

class Model(pydantic.BaseModel):
    gate: int
    act: str
    @pydantic.model_validator(mode="after")
    def judged(self): judge(self)

class Outer(msgspec.Struct):
    inner: Model

for kind in (Data, Struct, Model, Outer):
    def takes(payload): ...
    takes.__annotations__ = {"payload": kind}
    handlers.register(kind.__name__)(takes)
"""
)


def test_whatever_the_type_of_a_payload_raises(tmp_path: Path) -> None:
    with working(tmp_path, JUDGING) as driver:
        for kind, act in itertools.product(["Data", "Struct", "Model", "Outer"], hostile.ERRORS):
            wrap = (lambda payload: {"inner": payload}) if kind == "Outer" else None
            outcome = among_bystanders(driver, kind, {"act": act}, wrap)
            assert (kind, act, outcome.kind) == (kind, act, OutcomeKind.HANDLER_ERROR), outcome
            assert outcome.status_code in (422, 500)
            assert outcome.error
            assert_told(outcome)


STOPS = {
    "exit": "SystemExit: stray",
    "interrupt": "KeyboardInterrupt: stray",
    "stop": "it was stopped",
    "call": "SystemExit: 3",
}


def test_an_event_loop_that_is_stopped_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with working(tmp_path, STRAYS) as driver:
        for how in STOPS:
            assert among_bystanders(driver, "stray", {"how": how}).response == b'"gone on"'
            assert among_bystanders(driver, "hostile", {"act": "give_bytes"}).kind is OutcomeKind.SUCCESS
    told = [line["how"] for line in logged(capfd) if line["event"] == "loop_disturbed"]
    assert told == list(STOPS.values())


def test_a_copy_of_the_process_says_nothing(tmp_path: Path) -> None:
    with working(tmp_path, STRAYS) as driver:
        for name in ("fork", "fork-async"):
            assert among_bystanders(driver, name, {}).response == b'"gone on"'


def test_a_run_is_told_to_stop_whatever_became_of_its_context(tmp_path: Path) -> None:
    with working(tmp_path, STRAYS) as driver:
        token = driver.send("forget", timeout_ms=1_000)
        driver.told("forgot")
        assert driver.wait(token)[0].kind is OutcomeKind.TIMEOUT
        assert among_bystanders(driver, "hostile", {"act": "give_bytes"}).kind is OutcomeKind.SUCCESS


def test_runs_that_cannot_begin_end_at_once(tmp_path: Path) -> None:
    with working(tmp_path, STRAYS) as driver:
        culprit = driver.send("no-more-tasks")
        driver.told("no-more")
        refused = driver.wait(*(driver.send("hostile", {}) for _ in range(3)))
        assert {outcome.kind for outcome in refused} == {OutcomeKind.HANDLER_ERROR}
        assert all((outcome.error or "").startswith("ValueError: no more tasks") for outcome in refused)
        (tmp_path / "again").touch()
        driver.wait(culprit)
        assert among_bystanders(driver, "hostile", {"act": "give_bytes"}).kind is OutcomeKind.SUCCESS


def test_a_line_that_takes_its_time_holds_up_no_other(tmp_path: Path) -> None:
    with working(tmp_path, STRAYS) as driver:
        slow = driver.send("log-slowly")
        driver.told("asked")
        assert among_bystanders(driver, "hostile", {"act": "log_file_name"}).kind is OutcomeKind.SUCCESS
        assert slow not in driver.done
        (tmp_path / "answer").touch()
        assert driver.wait(slow)[0].kind is OutcomeKind.SUCCESS


def test_lines_go_to_no_file_of_a_handler(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with working(tmp_path, STRAYS) as driver:
        assert driver.result("close-errors") == "mine"
    assert [line["message"] for line in logged(capfd) if line.get("logger") == "closed"] == ["no error output"]


def test_a_run_that_cannot_be_handed_over_is_alone_in_that(tmp_path: Path) -> None:
    with working(tmp_path, MODULE) as driver:
        outcome = driver.run("gate", 1, task_id=hostile.NAME)
        assert (outcome.kind, outcome.no_retry) == (OutcomeKind.HANDLER_ERROR, True)
        assert (outcome.error or "").startswith("the run cannot be handed over: UnicodeEncodeError")
        assert among_bystanders(driver, "hostile", {"act": "give_bytes"}).kind is OutcomeKind.SUCCESS


@pytest.mark.parametrize(
    "text",
    [
        "raise ValueError(os.fsdecode(b'caf\\xe9'))",
        "class Mute(Exception):\n    def __str__(self): return None\nraise Mute",
    ],
)
def test_an_import_tells_why_it_failed_whatever_it_raised(tmp_path: Path, text: str) -> None:
    driver = Driver(tmp_path, text)
    with pytest.raises(
        HandlersFailed,
        match=r"the handlers cannot be imported: (ValueError: caf.udce9|Mute: \(its __str__ raised TypeError\))",
    ):
        driver.start()
    driver.pool.stop()
