"""Whatever the text, the wait, the result or the log line of a handler: its run ends at once and as what it was, and
costs nobody else anything.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasks_server.domain import limits
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tests.engine.handlers import hostile
from tests.engine.handlers.driver import Driver, working
from tests.tidy.documents import ROOT

pytestmark = pytest.mark.process

MODULE = f"sys.path.append({str(ROOT)!r})\nimport tests.engine.handlers.hostile\n"
_gates = itertools.count(1)


def among_bystanders(driver: Driver, name: str, payload: dict[str, Any]) -> Outcome:
    """How a run ends; bystanders that end in the same moment have what they gave, and their process goes on."""
    gate = next(_gates)
    process = driver.result("gate", gate)
    bystanders = [driver.send(one, gate) for one in ("bystander", "bystander-sync") * 3]
    outcome = driver.run(name, payload | {"gate": gate}, timeout_ms=30_000)
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
