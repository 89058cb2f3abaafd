"""What is told of targets that fail: a line at the first failure, a summary each minute, however many there are."""

import msgspec
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.engine.failures import Failures
from tasks_server.telemetry import Telemetry

REFUSED = Outcome(OutcomeKind.CONNECTION)
BAD_GATEWAY = Outcome(OutcomeKind.HTTP_ERROR, 502)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lines() -> list[bytes]:
    return []


@pytest.fixture
def failures(clock: ManualClock, lines: list[bytes]) -> Failures:
    return Failures(clock, Telemetry(clock, form="json", write=lines.append))


def told(lines: list[bytes]) -> list[tuple[str, int, str, int]]:
    found = [msgspec.json.decode(line) for line in lines]
    assert all((line["event"], line["level"]) == ("target_failing", "warning") for line in found)
    lines.clear()
    return [(line["target"], line["failures"], line["outcome"], line["status"]) for line in found]


async def test_three_thousand_failures_leave_a_line_and_a_summary(
    failures: Failures, clock: ManualClock, lines: list[bytes]
) -> None:
    for _ in range(2_999):
        failures.note("shop.test:443", REFUSED)
    failures.note("shop.test:443", BAD_GATEWAY)
    assert told(lines) == [("shop.test:443", 1, "connection", 0)]
    clock.advance(59_000)
    await failures.tick()
    assert told(lines) == []
    clock.advance(1_000)
    await failures.tick()
    assert told(lines) == [("shop.test:443", 2_999, "http_error", 502)]
    assert (failures.total, failures.failing()) == (3_000, 1)
    clock.advance(60_000)
    await failures.tick()
    assert (told(lines), failures.failing()) == ([], 0)
    failures.note("shop.test:443", REFUSED)
    assert told(lines) == [("shop.test:443", 1, "connection", 0)]


async def test_many_hosts_are_told_together(failures: Failures, clock: ManualClock, lines: list[bytes]) -> None:
    for number in range(1_000):
        failures.note(f"host-{number}.test", REFUSED)
    assert len(lines) == 101
    assert b'"hosts":1' in lines[-1]
    told(lines)
    clock.advance(60_000)
    await failures.tick()
    assert told(lines) == [("(other hosts)", 899, "connection", 0)]


@pytest.mark.parametrize("kind", [OutcomeKind.SUCCESS, OutcomeKind.INTERRUPTED, OutcomeKind.EXPIRED])
async def test_what_is_no_fault_of_the_target_is_not_counted(
    failures: Failures, lines: list[bytes], kind: OutcomeKind
) -> None:
    failures.note("shop.test", Outcome(kind))
    assert (failures.total, lines) == (0, [])
