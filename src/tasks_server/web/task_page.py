"""One task: where it stands and why, what happened to it, what it asked for, and what can be done."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tasks_server.api.exchange import Answer
from tasks_server.api.routes import Route
from tasks_server.api.states import state_word
from tasks_server.api.wire import spec_view
from tasks_server.domain import masking
from tasks_server.domain.attempt import Attempt
from tasks_server.domain.errors import TasksServerError, Unreadable
from tasks_server.domain.lifecycle import TRANSITIONS, EventKind
from tasks_server.domain.request import TaskSpec
from tasks_server.domain.task import Task
from tasks_server.service.explain import ExplainService
from tasks_server.service.owners import OwnerService
from tasks_server.service.tasks import TaskService
from tasks_server.service.timeline import Happening, TimelineEntry
from tasks_server.web import curl
from tasks_server.web.frame import Frame
from tasks_server.web.rendering import body, short
from tasks_server.web.task_pages import ACTS, DONE_ONE, PATH, action_of
from tasks_server.web.visit import Visit, see_other

_ATTEMPTS_SHOWN: Final = 100
_GOOD: Final = {Happening.SUCCEEDED, Happening.COMPLETED}
_BAD: Final = {Happening.FAILED, Happening.GIVEN_UP, Happening.EXPIRED, Happening.UNREADABLE}
_WARN: Final = {Happening.PAUSED, Happening.RESCUED, Happening.INTERRUPTED, Happening.DROPPED, Happening.REVOKED}
_BUSY: Final = {Happening.STARTED}
_KINDS: Final = {
    happening: kind
    for kind, happenings in (("good", _GOOD), ("bad", _BAD), ("warn", _WARN), ("busy", _BUSY))
    for happening in happenings
}


class Shown(msgspec.Struct):
    """What the header and the facts tell of a task."""

    id: str
    state: str
    phase: str
    lane: str
    schedule: str | None
    created_at: int
    due_at: int
    ended_at: int
    attempt: int
    failures: int
    repeats: int
    priority: int
    expire_at: int | None
    status_code: int
    error: str | None
    response_truncated: bool


class Moment(msgspec.Struct):
    """A line of the timeline."""

    at: int
    word: str
    kind: str
    status_code: int | None
    told: str


class Try(msgspec.Struct):
    """A row of the attempts."""

    number: int
    outcome: str
    status_code: int
    started_at: int
    late: str
    took: str
    error: str | None


class Act(msgspec.Struct):
    """A button; `reason`: why it cannot be pressed."""

    name: str
    word: str
    ask: str
    kind: str
    reason: str


class TaskPageView:
    """The page, and its buttons."""

    def __init__(self, tasks: TaskService, explain: ExplainService, owners: OwnerService) -> None:
        self._tasks = tasks
        self._explain = explain
        self._owners = owners

    def table(self, frame: Frame) -> list[Route]:
        return [
            frame.shows(f"{PATH}/{{id}}", self.page, "Show a task"),
            *(
                frame.does(f"{PATH}/{{id}}/{name}", self._doing(name), f"{word} from its page")
                for name, word, _, _ in ACTS
            ),
        ]

    async def page(self, visit: Visit) -> Answer:
        task_id, scope = visit.exchange.parameter("id").upper(), visit.scope
        task = await self._tasks.task(scope, task_id)
        spec, unreadable = await self._spec(visit, task)
        explained = await self._explain.explain(scope, task_id)
        attempts = await self._tasks.newest_attempts(scope, task_id, _ATTEMPTS_SHOWN)
        timeline = await self._tasks.timeline(scope, task_id)
        owner = visit.who.owner or await self._owners.by_id(task.owner)
        view = spec_view(spec, task.metadata) if spec is not None else None
        asked = asked_of(view) if view is not None else None
        return visit.page(
            "task.html",
            f"{state_word(task)} {task_id}",
            what=masking.shown_what(spec) if spec is not None else task.target,
            task=_shown(task),
            owner_name=owner.name if owner is not None else task.owner,
            explained=explained,
            acts=[_act(task, act, read_only=visit.who.read_only) for act in ACTS],
            timeline=[_moment(entry, visit) for entry in reversed(timeline[-_ATTEMPTS_SHOWN:])],
            attempts=[_try(attempt) for attempt in reversed(attempts)],
            metadata=masking.shown_entries(task.metadata) or {},
            response=body(task.response) if task.response else None,
            unreadable=unreadable or task.unreadable,
            spec=asked,
            config=view.config if view is not None else None,
            curl=curl.registration(server_of(visit), asked) if asked is not None else "",
            live=0 if task.ended_at and not task.remaining_ms else 2,
        )

    async def _spec(self, visit: Visit, task: Task) -> tuple[TaskSpec | None, str | None]:
        try:
            return await self._tasks.spec(visit.scope, task.id), None
        except Unreadable as error:
            return None, error.message

    def _doing(self, name: str) -> Any:
        do = action_of(self._tasks, name)

        async def act(visit: Visit) -> Answer:
            task_id = visit.exchange.parameter("id")
            back = f"{PATH}/{task_id}"
            try:
                await do(visit.scope, task_id, visit.who.by)
            except TasksServerError as error:
                return see_other(back, {"failed": error.message})
            told = {"done": f"The task {DONE_ONE[name]}."}
            return see_other(PATH if name == "delete" else back, told)

        return act


def server_of(visit: Visit) -> str:
    """Where the browser found the server."""
    host = visit.exchange.headers.get(b"host", b"").decode("latin-1")
    return f"{visit.exchange.scope.get('scheme', 'http')}://{host}"


def asked_of(view: Any) -> dict[str, Any]:
    """The body of the registration: what was given, without what is nothing."""
    fields = {"httpRequest": view.http_request, "handler": view.handler, "metadata": view.metadata}
    return {
        name: {key: value for key, value in part.items() if value is not None} for name, part in fields.items() if part
    }


def _shown(task: Task) -> Shown:
    return Shown(
        *(task.id, state_word(task), task.state.value, task.lane, task.schedule, task.created_at, task.due_at),
        *(task.ended_at, task.attempt, task.failures, task.repeats, task.priority, task.expire_at, task.status_code),
        *(task.error, task.response_truncated),
    )


_EVENTS: Final = {
    "retry": EventKind.RESTART,
    "execute": EventKind.EXECUTE,
    "pause": EventKind.PAUSE,
    "resume": EventKind.RESUME,
    "revoke": EventKind.REVOKE,
}


def _act(task: Task, act: tuple[str, str, str, str], *, read_only: bool) -> Act:
    name, word, ask, kind = act
    reason = "This session may only look." if read_only else ""
    event = _EVENTS.get(name)
    if not reason and event is not None and (task.state, event) not in TRANSITIONS:
        reason = f"Not while it is {task.state.value}."
    return Act(name, word, ask.replace("tasks are", "task is").replace("them", "it"), kind, reason)


def _moment(entry: TimelineEntry, visit: Visit) -> Moment:
    happening = Happening(entry.event)
    word, told = entry.event.replace("_", " "), "; ".join(_parts(entry, visit))
    return Moment(entry.at, word, _KINDS.get(happening, ""), entry.status_code, told)


def _parts(entry: TimelineEntry, visit: Visit) -> Iterable[str]:
    if entry.attempt is not None:
        yield f"attempt {entry.attempt}"
    if entry.number is not None:
        yield f"{entry.number} of {entry.of}" if entry.of is not None else str(entry.number)
    if entry.late:
        yield f"{short(entry.late)} late"
    elif entry.due_at is not None and entry.late is None:
        yield f"due {visit.time.exact(entry.due_at)}"
    if entry.fire_at is not None:
        yield f"for {visit.time.exact(entry.fire_at)}"
    if entry.fields:
        yield ", ".join(entry.fields)
    if entry.detail:
        yield entry.detail


def _try(attempt: Attempt) -> Try:
    return Try(
        attempt.number,
        attempt.outcome.value,
        attempt.status_code,
        attempt.started_at,
        short(attempt.started_at - attempt.due_at),
        short(attempt.ended_at - attempt.started_at),
        attempt.error,
    )
