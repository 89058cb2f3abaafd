"""From a schedule and its template to tasks: what a look at it stores, all of it or nothing."""

from typing import Final

import msgspec
from msgspec.structs import replace

from tasks_server.domain import lifecycle, limits, schedule, turns
from tasks_server.domain.attempt import Attempt, Event
from tasks_server.domain.forms import Form, Newer, encode_spec
from tasks_server.domain.request import HandlerCall, HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.schedule import MissedRuns, Schedule
from tasks_server.domain.task import PENDING, NewTask, Task
from tasks_server.domain.turns import HasTask


class Template(msgspec.Struct, omit_defaults=True):
    """What each task of a schedule is made from; sealed and kept beside the schedule."""

    request: HttpRequest | None
    config: TaskConfig
    target: str
    metadata: dict[str, str] | None = None
    special: bool = False
    handler: HandlerCall | None = None

    @property
    def spec(self) -> TaskSpec:
        """What each task is to do."""
        metadata = self.metadata if self.handler is not None else None
        return TaskSpec(self.request, self.config, self.special, self.handler, metadata)


_FORM: Final = Form(Template)
encode_template = _FORM.encode
"""The stored form of a template."""
decode_template = _FORM.decode
"""The template of a stored form. Raises `Newer`, or `msgspec.DecodeError` for bytes that no version of ours wrote."""


class Stopped(msgspec.Struct):
    """The schedule's last task, revoked to make way; with the attempt that was in flight, if there was one."""

    task: Task
    event: Event
    attempt: Attempt | None


class Firing(msgspec.Struct):
    """What becomes of a schedule that was looked at; the store keeps all of it or nothing."""

    schedule: Schedule
    tasks: list[NewTask]
    stopped: Stopped | None = None
    missed: tuple[MissedRuns, ...] = ()


def fire(
    found: Schedule, template: bytes, last: Task | None, room: int, has_task: HasTask, now: int, horizon: int
) -> Firing:
    """What becomes of a schedule whose turn it is at `now`: see `turns.decide`. `last`: its last task, when that is not
    final; `template`: empty when what is stored is damaged. Never raises.
    """
    if last is not None and _comes_later(last, horizon):
        last = None
    try:
        decision = turns.decide(found, now, horizon, last is not None, room, has_task)
        tasks = tasks_of(found, decode_template(template), decision.fires, now) if decision.fires else []
    except Newer:
        decision, tasks = turns.put_off(found, now), []
    except (ValueError, msgspec.MsgspecError) as error:
        decision, tasks = turns.give_up(found, now, found.unreadable or str(error)), []
    stopped = _stop(last, now) if decision.cancels and last is not None else None
    return Firing(decision.schedule, tasks, stopped, decision.missed)


def _comes_later(last: Task, horizon: int) -> bool:
    """Whether this task is for a fire time that has yet to come, and came before the clock was set back: it waits, and
    stands in nobody's way.
    """
    return last.state in PENDING and last.fire_at > horizon + limits.CLOCK_SET_MS


def _stop(last: Task, now: int) -> Stopped:
    why = "the next run of its schedule took its place"
    event = Event(now, lifecycle.EventKind.REVOKE.value, why)
    return Stopped(lifecycle.revoke(last, now), event, lifecycle.dropped(last, now, why))


def tasks_of(found: Schedule, template: Template, fires: tuple[int, ...], now: int) -> list[NewTask]:
    """The tasks of these fire times."""
    return [_task(found, template, schedule.task_id(found.id, at), at, schedule.due_at(found, at), now) for at in fires]


def task_now(found: Schedule, template: Template, task_id: str, now: int) -> NewTask:
    """A task that its owner wants run at once, beside those of the fire times."""
    made = _task(found, template, task_id, now, now, now)
    made.remaining_ms = 0
    return made


def _task(found: Schedule, template: Template, task_id: str, fire_at: int, due_at: int, now: int) -> NewTask:
    config = template.config
    spec = replace(template.spec, schedule=found.id, fire_at=fire_at)
    return NewTask(
        id=task_id,
        owner=found.owner,
        lane=config.lane,
        state=lifecycle.waiting_state(due_at, now),
        priority=config.priority,
        created_at=now,
        due_at=due_at,
        target=template.target,
        spec=encode_spec(spec),
        metadata=template.metadata,
        schedule=found.id,
        fire_at=fire_at,
    )
