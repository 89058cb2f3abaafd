"""A gate that a task must pass before it runs, and which there are."""

from typing import Any, Final

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """What a gate is about, for the documentation: what holds a task when it is closed, and what to do then."""

    meaning: str
    advice: str


KINDS: Final[dict[str, Kind]] = {
    "final": Kind("The task has ended.", "Retry it to run it once more."),
    "running": Kind(
        "The task runs now; or the engine that ran it is gone, and its lease is not over yet.",
        "Wait. A task of a lost engine runs again when its lease is over: within half a minute.",
    ),
    "paused": Kind("The task is paused.", "Resume it: it goes on with the wait that was left."),
    "clock": Kind(
        "The clock was set back, and the task would be due by the clock as it was before: it waits for an instant, and "
        "that comes when the clock says so. Or its wait began by that clock, and has not been set to begin now yet.",
        "Wait, or run the task now. If the clock is wrong, set it right.",
    ),
    "expiry": Kind(
        "`expireAt` comes, or came, before the task is due: it will end as ERROR without having run.",
        "Edit `expireAt`, or run the task now.",
    ),
    "due": Kind(
        "The task's time has not come: it is scheduled, or waits for a retry or a repeat.",
        "Wait, or run it now.",
    ),
    "owner_suspended": Kind(
        "The operator has suspended the task's owner: its tasks do not start, those that run go on.",
        "The operator resumes it: `tasks-server owner resume NAME`.",
    ),
    "lane_paused": Kind(
        "The task's lane is paused.",
        "Resume the lane: `POST /v1/lanes/:name/resume`, `tasks-server lane resume`. What the operator paused, only "
        "the operator can resume.",
    ),
    "engine": Kind(
        "No engine takes tasks: none was ever started on this database, or all have been stopped, have died or have "
        "been silent for 15 s.",
        "Start one: `tasks-server serve`. A silent one may be cut off from the database; its log says why.",
    ),
    "http": Kind("Engines run, but none of them sends HTTP requests.", "Start one that does: `tasks-server serve`."),
    "handler": Kind(
        "Engines run, but none of them knows the handler that the task names, or could import it.",
        "Start a worker that has it (`tasks-server worker --handlers …`), or mend the name; where its modules cannot "
        "be imported, mend them.",
    ),
    "database": Kind(
        "The engines cannot take tasks: the database refuses them.",
        "The server's log has the database's words: a full disk, a lock that is held, a lost connection.",
    ),
    "lane_concurrency": Kind(
        "As many tasks of its lane run as may run at once; those that hold the places are named.",
        "Wait, or raise the lane's `maxConcurrent`.",
    ),
    "lane_rate": Kind(
        "Its lane has started as many tasks as its rate and burst allow.",
        "Wait, or raise the lane's `ratePerSecond` or `burst`.",
    ),
    "slots": Kind(
        "All slots of the engines are taken, by whosever tasks.",
        "Wait, or raise `WORKER_MAX_CONCURRENT_TASKS`, or start more engines.",
    ),
    "owner_share": Kind(
        "Nine tenths of an engine's slots are taken; the last tenth is kept for owners who hold few slots or none, and "
        "this owner holds more.",
        "Wait, or raise `WORKER_MAX_CONCURRENT_TASKS`, or start more engines.",
    ),
    "host": Kind(
        "As many calls to the target's host run as may run to one host, by whosever tasks.",
        "Wait, or raise `MAX_CONCURRENT_PER_HOST`, or mend the slow host.",
    ),
    "handler_limit": Kind(
        "As many runs of the handler, or of all handlers, are in work as the engines may run.",
        "Wait, or raise the concurrency of the handler or of its worker, or start more workers.",
    ),
    "ahead": Kind(
        "More tasks of its owner go before it than there is room for: more urgent ones, of any lane; of its own lane "
        "those to the same target that were due earlier, in a lane with limits those to any target.",
        "Wait, or raise its priority, or run it now: that puts it first.",
    ),
    "behind": Kind(
        "Nothing holds the task, yet no engine has taken it for more than a second: the engines are behind.",
        "Look at the load of the machine and of the database; more engines on other cores help.",
    ),
}
"""Every gate, in the order in which they hold a task."""


class Gate(msgspec.Struct, frozen=True, rename="camel"):
    """One gate: whether it is closed, why or why not in plain words, until when if that is known, and the facts."""

    gate: str
    closed: bool
    text: str
    until: int | None = None
    facts: dict[str, Any] = {}
