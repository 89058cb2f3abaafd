"""`tasks-server task …`. Works on the database itself; a running server is told at once, without one tasks wait."""

import base64
from collections.abc import Awaitable, Callable
from datetime import tzinfo
from typing import Annotated, Any, Final

import typer
from msgspec.structs import replace

from tasks_server.api import search_line
from tasks_server.api.listing import read_query
from tasks_server.api.states import WIRE_STATES, state_word
from tasks_server.cli import output
from tasks_server.cli.explain import explain
from tasks_server.cli.faults import in_options
from tasks_server.cli.options import Config, DataDir, with_services
from tasks_server.cli.output import Json, task_fields
from tasks_server.cli.submit import given, option_of, pairs, submit
from tasks_server.domain import limits, masking, words
from tasks_server.domain.errors import Fault, InvalidRequest, NotFound, TasksServerError, Unreadable
from tasks_server.domain.request import TaskSpec
from tasks_server.domain.stored import together
from tasks_server.domain.task import HANDLER_MARK, State, Task
from tasks_server.service.tasks import TaskService
from tasks_server.service.timeline import TimelineEntry
from tasks_server.store.ports import TaskQuery
from tasks_server.wiring import Services

app = typer.Typer(no_args_is_help=True)

_FIRST: Final = "is first in line"
_BY: Final = "operator"

Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of tasks.")]

app.command("submit")(submit)
app.command("explain")(explain)


# Showing


@app.command("list")
def list_(
    owner: Annotated[str | None, typer.Option("--owner", "-o", help="Name of the owner. Default: of all.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", "-s", help="Only those in this state (RUNNING) or phase (scheduled); repeatable."),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option("--schedule", metavar="ID", help="Only those that this schedule made; with --owner, by its name."),
    ] = None,
    handlers: Annotated[bool, typer.Option("--handlers", help="Only those that run handlers.")] = False,
    lane: Annotated[str | None, typer.Option("--lane", help="Only those of this lane.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Only calls to this host, with or without port.")] = None,
    handler: Annotated[str | None, typer.Option("--handler", help="Only those that run this handler.")] = None,
    status_code: Annotated[
        str | None, typer.Option("--status-code", help="Only those with this last status: 503, 5xx; 0: no answer.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="Only those with this; repeatable.")
    ] = None,
    created_since: Annotated[
        str | None, typer.Option("--created-since", help="Registered at this date or later; 2h: two hours ago.")
    ] = None,
    created_until: Annotated[str | None, typer.Option("--created-until", help="Registered before this date.")] = None,
    ended_since: Annotated[str | None, typer.Option("--ended-since", help="Ended from this date on.")] = None,
    ended_until: Annotated[str | None, typer.Option("--ended-until", help="Ended before this date.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=limits.PAGE_SIZE_MAX, help="The newest so many.")
    ] = 20,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List tasks, newest first."""
    states = _states(state) if state else None
    faults: list[Fault] = []
    entries = pairs(metadata, "=", "--metadata", faults) or {}
    if faults:
        raise InvalidRequest(faults)
    asked = given({"lane": lane, "host": host, "handler": handler, "statusCode": status_code, "schedule": schedule})
    times = {"createdSince": created_since, "createdUntil": created_until}
    times |= {"endedSince": ended_since, "endedUntil": ended_until}
    asked |= {f"metadata.{name}": value for name, value in entries.items()}

    async def work(services: Services) -> tuple[list[Task], dict[str, str], tzinfo]:
        owner_id = (await services.owners.by_name(owner)).id if owner else None
        now = services.tasks.now()
        since = {name: search_line.instant(text, now) for name, text in given(times).items()}
        try:
            query = read_query(owner_id, asked | since | {"sort": "desc", "limit": str(limit)}, services.tasks.zone)
        except InvalidRequest as error:
            raise in_options(error, _option_of_query) from None
        wanted = replace(query.filter, handlers_only=handlers)
        tasks = await _newest(services, replace(query, states=states, filter=wanted))
        names = {}
        for known in {task.owner for task in tasks}:
            found = await services.owners.by_id(known)
            names[known] = found.name if found else known
        return tasks, names, services.tasks.zone

    tasks, names, zone = with_services(work, config, data_dir)
    if json:
        output.as_json([task_fields(task) | {"owner_name": names[task.owner]} for task in tasks])
    elif not tasks:
        output.say("There are no such tasks.")
    else:
        output.table(
            ("id", "owner", "state", "what", "lane", "due", "attempts", "status"),
            [
                (
                    *(task.id, names[task.owner], _standing(task), _target(task), task.lane),
                    *(output.instant(task.due_at, zone), str(task.attempt), str(task.status_code or "-")),
                )
                for task in tasks
            ],
        )
    output.warn_of((task.id, task.unreadable) for task in tasks)


def _option_of_query(field: str) -> str:
    """The option that brought a name of the query.

    >>> [_option_of_query(field) for field in ("query.statusCode", "query.host", "query.metadata.a")]
    ['--status-code', '--host', '--metadata a']
    """
    name, _, entry = field.removeprefix("query.").partition(".")
    words_of = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)
    return f"--{words_of} {entry}" if entry else f"--{words_of}"


def _target(task: Task) -> str:
    """Whom it calls, or which handler it runs."""
    mark = HANDLER_MARK
    return f"handler {task.target.removeprefix(mark)}" if task.target.startswith(mark) else task.target


async def _newest(services: Services, query: TaskQuery) -> list[Task]:
    """As many as are asked for: pages are followed until there are enough of them, or the list ends."""
    found: list[Task] = []
    while True:
        page = await services.tasks.tasks(query)
        found += page.tasks
        if page.next is None or len(found) >= query.limit:
            return found[: query.limit]
        query = replace(query, after=page.next, offset=page.skip)


def _standing(task: Task) -> str:
    """The state in the words of the API, with the phase where that tells more."""
    state = state_word(task)
    return f"{state} ({task.state.value})" if state == "RUNNING" else state


def _states(given: list[str]) -> frozenset[State]:
    """The states that these words name, in any case: those of the API, and phases. Raises `InvalidRequest`.

    `running` is the phase when it is written so, and else all that is RUNNING.
    """
    named: dict[str, set[State]] = {}
    for state, name in WIRE_STATES.items():
        named.setdefault(name, set()).add(state)
    named |= {state.value: {state} for state in State}
    found: set[State] = set()
    for word in given:
        known = words.chosen(word, named)
        if known is None:
            raise InvalidRequest([Fault("--state", "is no state", word, ", ".join(named))])
        found |= named[known]
    return frozenset(found)


@app.command("show")
def show(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the task.")],
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show a task, what it asked for, and what happened to it."""

    async def work(services: Services) -> tuple[Task, TaskSpec | None, Any, tzinfo]:
        tasks = services.tasks
        task, spec = await tasks.task(None, task_id), None
        try:
            spec = await tasks.spec(None, task_id)
        except Unreadable as error:
            task.unreadable = together(task.unreadable, error.message)
        return task, spec, await tasks.timeline(None, task_id), tasks.zone

    task, spec, timeline, zone = with_services(work, config, data_dir)
    if json:
        response = base64.b64encode(task.response).decode() if task.response is not None else None
        told = {
            "request": masking.shown_request(spec.request) if spec is not None and spec.request is not None else None,
            "handler": masking.shown_handler(spec.handler) if spec is not None and spec.handler is not None else None,
            "config": masking.shown_config(spec) if spec is not None else None,
            "response": response,
            "response_truncated": task.response_truncated,
            "timeline": timeline,
        }
        output.as_json(task_fields(task) | told)
        return
    shown = task_fields(task)
    facts = {
        "id": task.id,
        "state": _standing(task),
        "request": masking.shown_what(spec) if spec is not None else "-",
        "due": output.instant(task.due_at, zone),
        "attempts": str(task.attempt),
        "status": str(task.status_code or "-"),
        "error": task.error or "-",
        "metadata": ", ".join(f"{name}={value}" for name, value in (shown["metadata"] or {}).items()) or "-",
        "response": _excerpt(task.response, is_truncated=task.response_truncated),
    }
    output.table(("", ""), list(facts.items()))
    rows = [
        (output.instant(entry.at, zone, exact=True), entry.event, str(entry.status_code or ""), _told(entry, zone))
        for entry in timeline
    ]
    output.table(("when", "what", "status", "detail"), rows)
    output.warn_of([(task.id, task.unreadable)])


def _told(entry: TimelineEntry, zone: tzinfo) -> str:
    """What a moment of the timeline says, in a line."""
    parts = [f"attempt {entry.attempt}" if entry.attempt is not None else ""]
    if entry.number is not None:
        parts.append(f"{entry.number} of {entry.of}" if entry.of is not None else str(entry.number))
    if entry.late:
        parts.append(f"{entry.late} ms late")
    elif entry.due_at is not None and entry.late is None:
        parts.append(f"due {output.instant(entry.due_at, zone, exact=True)}")
    if entry.fire_at is not None:
        parts.append(f"for {output.instant(entry.fire_at, zone)}")
    if entry.progress is not None:
        parts.append(f"{entry.progress:.0%}")
    parts += entry.fields or []
    parts.append(output.redirected_text(entry.redirected))
    return ", ".join(part for part in [*parts, entry.detail] if part)


def _excerpt(response: bytes | None, *, is_truncated: bool) -> str:
    if response is None:
        return "-"
    text = response[:500].decode("utf-8", "replace")
    if len(response) <= 500 and not is_truncated:
        return text
    return f"{text}… ({'the first ' if is_truncated else ''}{len(response)} bytes)"


# Steering


def _steer(
    task_ids: list[str],
    act: Callable[[TaskService, str], Awaitable[Task | None]],
    done: str,
    options: tuple[Any, Any, bool],
    look: Callable[[Services, str], Awaitable[str]] | None = None,
) -> None:
    """Does the same to each task. What one refuses is told, the others go on; then the command fails. `look` says what
    has become of a task, where `done` alone does not.
    """
    config, data_dir, json = options

    async def work(services: Services) -> list[tuple[str, str, TasksServerError | None]]:
        results: list[tuple[str, str, TasksServerError | None]] = []
        for task_id in task_ids:
            try:
                await act(services.tasks, task_id)
                became = await look(services, task_id) if look and not json else f"{done}."
                results.append((task_id, became, None))
            except TasksServerError as error:
                results.append((task_id, "", error))
        return results

    results = with_services(work, config, data_dir)
    if json:
        output.as_json([{"id": task_id, "error": error and error.message} for task_id, _, error in results])
    for task_id, became, error in results:
        if error is None and not json:
            output.say(f"Task {task_id} {became}")
    if failed := [(task_id, error) for task_id, _, error in results if error is not None]:
        for task_id, error in failed[:-1]:
            output.warn(f"{task_id}: {error.message}")
        task_id, error = failed[-1]
        error.message = f"{task_id}: {error.message}"
        raise error


@app.command("pause")
def pause(task_ids: Ids, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Stop the clock of waiting or running tasks; resume goes on from there."""
    _steer(task_ids, lambda tasks, task_id: tasks.pause(None, task_id, by=_BY), "is paused", (config, data_dir, json))


@app.command("resume")
def resume(task_ids: Ids, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Let paused tasks go on."""
    _steer(task_ids, lambda tasks, task_id: tasks.resume(None, task_id, by=_BY), "goes on", (config, data_dir, json))


@app.command("revoke")
def revoke(task_ids: Ids, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Stop tasks for good. They stay on record."""
    _steer(task_ids, lambda tasks, task_id: tasks.revoke(None, task_id, by=_BY), "is revoked", (config, data_dir, json))


@app.command("run")
def run(task_ids: Ids, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Run waiting tasks now, as far as their lanes and targets let them."""
    options = (config, data_dir, json)
    _steer(task_ids, lambda tasks, task_id: tasks.execute(None, task_id, by=_BY), _FIRST, options, look=_held)


async def _held(services: Services, task_id: str) -> str:
    """That it is first in line, and what still holds it; or that it has got further."""
    try:
        explained = await services.explain.explain(None, task_id)
    except NotFound:  # somebody deleted it meanwhile
        return f"{_FIRST}."
    if explained.task.state is State.RUNNING:
        return "runs now."
    if explained.task.state is not State.AVAILABLE:
        return "has run already."
    if explained.runnable:
        return f"{_FIRST}."
    return f"{_FIRST}. {output.printable(explained.summary)}"


@app.command("move")
def move(
    task_ids: Ids,
    delay: Annotated[str | None, typer.Option("--delay", help="From now, so long: 90s, 5m, 2h.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="At this date: 2030-01-31T09:00, or 2030-01-31T09:00[Europe/Berlin].")
    ] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="IANA time zone of --at.")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Run waiting or paused tasks at another time."""
    if (delay is None) == (at is None):
        raise InvalidRequest([Fault("--delay", "or --at is to be given, one of them")])
    wanted = given({"executionDelay": delay, "executeAt": at, "timezone": timezone})

    async def act(tasks: TaskService, task_id: str) -> Task:
        try:
            return await tasks.edit(None, task_id, {"config": wanted}, by=_BY)
        except InvalidRequest as error:
            raise in_options(error, option_of) from None

    _steer(task_ids, act, "", (config, data_dir, json), look=_moved)


async def _moved(services: Services, task_id: str) -> str:
    """When it is due now."""
    task = await services.tasks.task(None, task_id, response=False)
    if task.state is State.PAUSED:
        return "is paused; resume goes on with its new wait."
    return f"is due {output.instant(task.due_at, services.tasks.zone)}."


@app.command("retry")
def retry(task_ids: Ids, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Run finished tasks once more, with all their retries."""
    _steer(task_ids, lambda tasks, task_id: tasks.retry(None, task_id, by=_BY), "runs again", (config, data_dir, json))


@app.command("delete")
def delete(task_ids: Ids, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Remove tasks and all that is known of them, in any state."""
    _steer(task_ids, lambda tasks, task_id: tasks.delete(None, task_id), "is deleted", (config, data_dir, json))
