"""The list of tasks: find some, and do the same to those that are ticked."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from tasks_server.api.exchange import Answer
from tasks_server.api.listing import cursor_of, read_query
from tasks_server.api.routes import Route
from tasks_server.api.search_line import Line, read_line, written
from tasks_server.api.states import WIRE_STATES, state_word
from tasks_server.domain import masking
from tasks_server.domain.errors import Fault, InvalidRequest, TasksServerError
from tasks_server.domain.opening import opened_spec
from tasks_server.domain.owner import By
from tasks_server.domain.task import FINAL, State, Task
from tasks_server.service.monitoring import MonitorService
from tasks_server.service.owners import OwnerService
from tasks_server.service.tasks import TaskService
from tasks_server.store.ports import TaskPage, TaskQuery
from tasks_server.web.frame import Frame
from tasks_server.web.visit import Visit, see_other

PATH: Final = "/ui/tasks"
_ROWS: Final = "50"
_TABS: Final = ("RUNNING", "PAUSED", "ERROR", "SUCCESS", "REVOKED")
ACTS: Final = (
    ("retry", "Retry", "", "first"),
    ("execute", "Run now", "", ""),
    ("pause", "Pause", "", ""),
    ("resume", "Resume", "", ""),
    ("revoke", "Revoke", "The tasks are stopped for good; they stay on record. Revoke them?", "danger"),
    ("delete", "Delete", "The tasks and all that is known of them are removed. Delete them?", "danger"),
)
"""What may be done to a task: its name, the word on the button, the question before it, its look."""
DONE: Final = {
    "retry": "run again",
    "execute": "are first in line",
    "pause": "are paused",
    "resume": "go on",
    "revoke": "are revoked",
    "delete": "are deleted",
}
DONE_ONE: Final = DONE | {
    "retry": "runs again",
    "execute": "is first in line",
    "pause": "is paused",
    "resume": "goes on",
    "revoke": "is revoked",
    "delete": "is deleted",
}
_TOLD_MAX: Final = 3


class Row(msgspec.Struct):
    """A task in the list."""

    id: str
    state: str
    phase: str
    owner: str
    what: str
    lane: str
    when_word: str
    when: int
    attempts: int
    status_code: int
    error: str | None
    unreadable: str | None


class Tab(msgspec.Struct):
    """A state to choose, with how many tasks are in it."""

    name: str
    href: str
    count: int | None
    here: bool


class TaskPages:
    """The list, and what is done from it."""

    def __init__(self, tasks: TaskService, monitor: MonitorService, owners: OwnerService) -> None:
        self._tasks = tasks
        self._monitor = monitor
        self._owners = owners

    def table(self, frame: Frame) -> list[Route]:
        return [
            frame.shows(PATH, self.page, "Show tasks"),
            frame.does("/ui/tasks/act", self.act, "Do something to ticked tasks"),
        ]

    async def page(self, visit: Visit) -> Answer:
        """The list under a search line."""
        asked = dict(visit.pairs())
        line = read_line(asked.get("q", ""), visit.now)
        if line.id and not line.faults:
            return see_other(f"{PATH}/{line.id}")
        found, query, told = TaskPage([], None, []), None, [told_fault(fault) for fault in line.faults]
        counts = await self._monitor.counts(visit.scope)
        if not told:
            try:
                query = self._query(visit, line, asked)
                found = await self._tasks.tasks(query)
            except InvalidRequest as error:
                told = [told_fault(fault) for fault in error.faults]
        names = await self._owner_names(visit, found.tasks)
        return visit.page(
            "tasks.html",
            "Tasks",
            q=asked.get("q", ""),
            search_faults=told,
            tabs=_tabs(line, counts),
            tasks=[_row(task, spec, names) for task, spec in zip(found.tasks, found.specs, strict=True)],
            caption=_caption(line),
            next=_cursor(query, found),
            page_note="",
            nothing_at_all=not told and not line.query and not any(counts.values()),
            looked_at="5 000",
            back=f"{PATH}?{visit.query_without('done', 'failed')}",
            acts=ACTS,
            first_curl=first_curl(visit),
        )

    def _query(self, visit: Visit, line: Line, asked: dict[str, str]) -> TaskQuery:
        given = {"sort": "desc", "limit": _ROWS} | line.query
        if "cursor" in asked:
            given["cursor"] = asked["cursor"]
        query = read_query(visit.scope, given, self._tasks.zone)
        return msgspec.structs.replace(query, with_specs=True)

    async def _owner_names(self, visit: Visit, tasks: Sequence[Task]) -> dict[str, str]:
        if visit.who.owner is not None:
            return {visit.who.owner.id: visit.who.owner.name}
        names = {}
        for owner_id in {task.owner for task in tasks}:
            owner = await self._owners.by_id(owner_id)
            names[owner_id] = owner.name if owner is not None else owner_id
        return names

    async def act(self, visit: Visit) -> Answer:
        """Does the same to each ticked task, and tells what became of all."""
        form = await visit.form()
        action, ticked, back = form.one("action"), form.every("id"), form.one("back", PATH)
        if action not in DONE or not ticked:
            return see_other(back, {"failed": "Nothing was done: tick tasks first."})
        do = action_of(self._tasks, action)
        refused: list[str] = []
        for task_id in ticked:
            try:
                await do(visit.scope, task_id, visit.who.by)
            except TasksServerError as error:
                refused.append(f"{task_id}: {error.message}")
        done = len(ticked) - len(refused)
        told = [f"{done} of {len(ticked)} tasks {DONE[action]}."] if done else []
        told += refused[:_TOLD_MAX]
        told += [f"And {len(refused) - _TOLD_MAX} more."] if len(refused) > _TOLD_MAX else []
        return see_other(back, {"failed" if refused else "done": " ".join(told)})


def action_of(tasks: TaskService, name: str) -> Callable[[str | None, str, By], Awaitable[Any]]:
    """What does this to a task of an owner."""
    act = getattr(tasks, name)

    async def do(owner: str | None, task_id: str, by: By) -> Any:
        return await (act(owner, task_id) if name == "delete" else act(owner, task_id, by=by))

    return do


def first_curl(visit: Visit) -> str:
    """A command that sends a first task."""
    host = visit.exchange.headers.get(b"host", b"127.0.0.1:9420").decode("latin-1")
    return (
        f"curl -X POST http://{host}/v1/queues/register \\\n"
        "  -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' \\\n"
        f'  -d \'{{"httpRequest": {{"url": "http://{host}/status", "method": "GET"}}}}\''
    )


def told_fault(fault: Fault) -> str:
    """A fault of a search line, in words."""
    given = f" ({fault.given})" if fault.given is not None else ""
    return f"{fault.field.removeprefix('query.')} {fault.message}{given}"


def _tabs(line: Line, counts: dict[State, int]) -> list[Tab]:
    chosen = line.query.get("state", "").upper()
    rest = {name: value for name, value in line.query.items() if name != "state"}
    tabs = [Tab("All", f"?{urlencode({'q': written(rest)})}", None, not chosen)]
    for word in _TABS:
        number = sum(count for state, count in counts.items() if WIRE_STATES[state] == word)
        there = urlencode({"q": written({"state": word.lower()} | rest)})
        tabs.append(Tab(word.capitalize(), f"?{there}", number, chosen == word))
    return tabs


def _row(task: Task, spec: bytes | None, names: dict[str, str]) -> Row:
    if task.state in FINAL:
        word, when = "ended", task.ended_at
    elif task.state is State.RUNNING:
        word, when = "began", task.execution_at
    elif task.state is State.PAUSED:
        word, when = "paused", task.ended_at
    else:
        word, when = "due", task.due_at
    return Row(
        task.id,
        state_word(task),
        task.state.value,
        names.get(task.owner, task.owner),
        _what(task, spec),
        task.lane,
        word,
        when,
        task.attempt,
        task.status_code,
        task.error if task.state is not State.COMPLETED else None,
        task.unreadable,
    )


def _what(task: Task, spec: bytes | None) -> str:
    if spec is None:
        return task.target
    try:
        return masking.shown_what(opened_spec(spec, task.unreadable))
    except TasksServerError:
        return task.target


def _caption(line: Line) -> str:
    return "Newest first" if not line.query else f"Newest first, with {written(line.query)}"


def _cursor(query: TaskQuery | None, found: TaskPage) -> str | None:
    if query is None or found.next is None:
        return None
    return cursor_of(query, found.next, found.skip)
