"""Between stored schedules and the types of the domain, and what is done with those whose turn it is, as far as all
adapters do it alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from tasks_server.domain import limits
from tasks_server.domain.cron import rule_told
from tasks_server.domain.schedule import Rule, Schedule, task_id
from tasks_server.domain.stored import OTHER_VERSION, together, unreadable
from tasks_server.domain.task import FINAL, NewTask
from tasks_server.domain.turns import PUT_OFF_MS
from tasks_server.store.ports import Change, Inserted
from tasks_server.store.rows import Loaded
from tasks_server.store.scheduling import DecideFiring, Fired, ScheduleChange
from tasks_server.store.sealing import Sealer, spec_context, template_context
from tasks_server.store.texts import is_newer, marked, unmarked

_DECODER: Final = msgspec.json.Decoder(Schedule)
_ENCODER: Final = msgspec.json.Encoder()
_RULE_0: Final = {
    "timezone": "UTC",
    "jitter_ms": 0,
    "missed": "once",
    "missed_window_ms": 86_400_000,
    "overlap": "allow",
}
"""What version 0 left out of rules; later ones leave nothing out."""


def facts_of(schedule: Schedule) -> str:
    """A schedule as it is stored: its rule whole, so that no change of a default changes it."""
    if schedule.unreadable is not None:
        schedule = replace(schedule, unreadable=None)
    return marked(_ENCODER.encode(schedule))


def schedule_of(facts: str, schedule_id: str, owner: str, name: str) -> Schedule:
    """The schedule of a stored form. What of it cannot be read, it tells of; where that is all, it is `lost`."""
    try:
        found = _found_in(facts)
    except msgspec.MsgspecError as error:
        why = f"it is damaged, or of another version ({error})"
        told = unreadable("what is stored of the schedule", why, f"{OTHER_VERSION}, PUT it anew, or delete it")
        return Schedule(schedule_id, owner, name, Rule(), 0, 0, 0, unreadable=told, lost=True)
    found.unreadable = rule_told(found.rule.cron, found.rule.timezone)
    return found


def _found_in(facts: str) -> Schedule:
    version, json = unmarked(facts)
    if version:
        return _DECODER.decode(json)
    raw = msgspec.json.decode(json, type=dict[str, Any])
    rule = raw.get("rule")
    return msgspec.convert(raw | {"rule": _RULE_0 | rule} if isinstance(rule, dict) else raw, Schedule)


def look_at_template(sealer: Sealer, schedule: Schedule, sealed: bytes) -> bytes:
    """The template; empty when it cannot be read, which the schedule tells of and no other schedule waits for."""
    opened, told = sealer.look(sealed, template_context(schedule.id))
    schedule.unreadable = together(schedule.unreadable, told)
    return opened


def schedule_columns(sealer: Sealer, change: ScheduleChange, **more: Any) -> dict[str, Any]:
    """What `schedule_insert` and `schedule_change` write, with `more` that says which."""
    schedule, template = change.schedule, change.template
    sealed = None if template is None else sealer.seal(template, template_context(schedule.id))
    known = {"name": schedule.name, "look_at": schedule.look_at, "facts": facts_of(schedule), "template": sealed}
    return known | more


class FiredSchedules(ABC):
    """What becomes of schedules whose turn it is, in a transaction that is alone with them. How tasks are read and
    written, the adapter says.
    """

    _sealer: Sealer
    _submissions: Any
    _steerings: Any

    @abstractmethod
    def _run(self, connection: Any, statement: str, row: dict[str, Any]) -> None:
        """Runs the statement of that name."""

    @abstractmethod
    def _load(self, connection: Any, owner: str, task_id: str, *, hold: bool) -> Loaded | None:
        """The task, or None when it is gone; with `hold`, nobody else changes it from now on."""

    def _fire_each(
        self,
        connection: Any,
        rows: Iterable[Sequence[Any]],
        rooms: dict[int, int],
        held: frozenset[int],
        horizon: int,
        decide: DecideFiring,
    ) -> tuple[Fired, list[NewTask], bool]:
        """Each row is a schedule's handle, its owner's, its facts and its template; `rooms` says how many tasks the
        queue of each owner takes, `held` which owners are suspended: their schedules wait. Those whose turn comes up to
        `horizon` have it now. What was done, the tasks that were stored, whether one in flight was stopped.
        """
        fired, tasks, stopped = Fired(), list[NewTask](), False
        for seq, owner, facts, sealed in rows:
            fired.schedules += 1
            if owner in held:
                self._run(connection, "schedule_put_off", {"seq": seq, "look_at": horizon + limits.SUSPENDED_LOOK_MS})
                continue
            if is_newer(facts):
                self._run(connection, "schedule_put_off", {"seq": seq, "look_at": horizon + PUT_OFF_MS})
                continue
            found = schedule_of(facts, "", "", "") if owner in rooms else None
            if found is None or found.lost:
                self._run(connection, "schedule_stop", {"seq": seq})
                continue
            last = self._unfinished(connection, found)
            template = look_at_template(self._sealer, found, sealed)
            has_task = partial(self._has_task, connection, found)
            firing = decide(found, template, last.task if last else None, rooms[owner], has_task)
            if firing.stopped is not None and last is not None:
                stop = firing.stopped
                self._steerings.write(connection, last, Change(stop.task, stop.event, stop.attempt))
                rooms[owner] += 1
                stopped = stopped or stop.attempt is not None
            rooms[owner] -= len(firing.tasks)
            tasks += firing.tasks
            fired.missed += [(found.id, missed) for missed in firing.missed]
            moved = schedule_columns(self._sealer, ScheduleChange(firing.schedule), seq=seq)
            self._run(connection, "schedule_change", moved)
        fired.tasks = len(tasks)
        self._store(connection, tasks)
        return fired, tasks, stopped

    def _unfinished(self, connection: Any, schedule: Schedule) -> Loaded | None:
        """The schedule's last task, where it matters that it is not final; held when it is to be stopped."""
        overlap = schedule.rule.overlap
        if overlap == "allow" or schedule.last_task is None:
            return None
        last = self._load(connection, schedule.owner, schedule.last_task, hold=overlap == "cancel")
        return None if last is None or last.task.state in FINAL else last

    def _has_task(self, connection: Any, schedule: Schedule, fire_at: int) -> bool:
        return self._load(connection, schedule.owner, task_id(schedule.id, fire_at), hold=False) is not None

    def _store(self, connection: Any, tasks: list[NewTask]) -> None:
        seal = self._sealer.seal
        sealed = [[replace(task, spec=seal(task.spec, spec_context(task.id)))] for task in tasks]
        if sealed:
            answers = self._submissions.insert(connection, sealed)
            assert all(isinstance(answer, Inserted) for answer in answers)  # this very transaction knows of the room
