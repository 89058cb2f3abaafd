"""Recording: one report that cannot be recorded is alone in that."""

import msgspec

from tasks_server.clock import ManualClock
from tasks_server.domain.lifecycle import EventKind, Settlement
from tasks_server.domain.task import State
from tasks_server.engine.settler import Settler
from tasks_server.store.settling import Report
from tasks_server.telemetry import Telemetry


class Picky:
    """A store that fails with all that comes with one report."""

    def __init__(self) -> None:
        self.recorded: list[int] = []

    async def settle(self, reports: list[Report]) -> set[int]:
        if any(report.ref == 2 for report in reports):
            raise UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed")
        self.recorded += [report.ref for report in reports]
        return set()


async def test_a_report_that_cannot_be_recorded_takes_no_other_with_it(clock: ManualClock) -> None:
    lines: list[bytes] = []
    store = Picky()
    settler = Settler(store, Telemetry(clock, form="json", write=lines.append))  # type: ignore[arg-type]  # part of a store
    ended = Settlement(EventKind.FAIL, State.FAILED, 0, 1, 0, 1, 500, "no")
    for ref in (1, 2, 3):
        settler.add(Report(ref, 1, f"TASK{ref}", ended, None, 0))
    assert await settler.flush()
    await settler.drained()
    assert store.recorded == [1, 3]
    (told,) = map(msgspec.json.decode, lines)
    assert (told["event"], told["doing"]) == ("unexpected", "settle task TASK2")
