"""Whether a run kept the promises: nothing lost, nothing repeated, nothing early, everything final and recorded."""

from collections.abc import Collection, Sequence

from bench.server import Server
from bench.target import Delivery, repeats


def faults_of(server: Server, stored: Collection[str], deliveries: Sequence[Delivery]) -> list[str]:
    """What went wrong, in words, judged by the target's log against what is stored. Call it when all has ended."""
    faults = []
    delivered = {delivery.task_id for delivery in deliveries}
    lost, unknown, twice = set(stored) - delivered, delivered - set(stored), repeats(deliveries)
    if lost:
        faults.append(f"{len(lost)} tasks were never delivered, such as {min(lost)}")
    if unknown:
        faults.append(f"{len(unknown)} tasks were delivered that are not stored, such as {min(unknown)}")
    if twice:
        faults.append(f"{twice} deliveries were repeats, without any crash")
    early = [delivery.late_ms for delivery in deliveries if delivery.late_ms < 0]
    if early:
        faults.append(f"{len(early)} deliveries were early, by {-min(early):.3f} ms at worst")
    return faults + unfinished(server)


def unfinished(server: Server) -> list[str]:
    """The same as far as the server's own records tell."""
    faults = []
    if set(server.states()) - {"completed"}:
        with server.stored as rows:
            faults.append(f"not all tasks were completed: {rows.stuck()}")
    faults += _unrecorded(server)
    return faults + [f"the server complained: {line}" for line in server.complaints()[:5]]


def _unrecorded(server: Server) -> list[str]:
    with server.stored as rows:
        tasks, attempts = rows.tasks_and_attempts()
        counted, states = rows.counted(), rows.states()
    faults = []
    if tasks != attempts:
        faults.append(f"{tasks} tasks have {attempts} recorded attempts")
    if counted != states:
        faults.append(f"the counters say {counted}, the tasks are {states}")
    return faults
