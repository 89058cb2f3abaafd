"""`tasks-server task …`. Works on the database itself; a running server is told at once, without one tasks wait."""

import base64
from collections.abc import Awaitable, Callable
from datetime import tzinfo
from typing import Annotated, Any, Final

import msgspec
import typer

from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir, with_services
from tasks_server.cli.output import Json
from tasks_server.clock import SystemClock
from tasks_server.domain import limits, masking, validation
from tasks_server.domain.errors import Fault, InvalidRequest, TasksServerError
from tasks_server.domain.task import NewTask, State, Task
from tasks_server.service.tasks import TaskService
from tasks_server.store.ports import TaskQuery
from tasks_server.wiring import Services

app = typer.Typer(no_args_is_help=True)

Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of tasks.")]
_RENAMED: Final = {
    "url": "URL",
    "headers": "--header",
    "executionDelay": "--delay",
    "executeAt": "--at",
}
"""Fields of the request whose option has another name."""


def _as_dict(task: Task | NewTask) -> dict[str, Any]:
    fields = ("id", "owner", "lane", "state", "priority", "created_at", "due_at", "metadata")
    more = ("execution_at", "ended_at", "attempt", "failures", "repeats", "status_code", "error")
    shown = {name: getattr(task, name) for name in fields}
    shown["metadata"] = masking.shown_entries(task.metadata)
    if isinstance(task, Task):
        shown |= {name: getattr(task, name) for name in more}
    return shown


# Submitting


@app.command("submit")
def submit(
    url: Annotated[str, typer.Argument(help="What to call: an http or https URL.")],
    owner: Annotated[str, typer.Option("--owner", "-o", help="Name of the owner the task is for.")],
    method: Annotated[
        str | None,
        typer.Option("--method", "-X", help="HTTP method. Default: GET, with data POST.", show_default=False),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE", help="A header to send; repeatable.")
    ] = None,
    query: Annotated[
        list[str] | None, typer.Option("--query", metavar="NAME=VALUE", help="Joined to the URL's query; repeatable.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", help="Text to send, literally.")] = None,
    json_data: Annotated[str | None, typer.Option("--json-data", help="A JSON object to send.")] = None,
    delay: Annotated[
        str | None, typer.Option("--delay", help="Wait this long first: 500ms, 90s, 5m, 2h, 3d5h.")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", help="Wait until this date: 2030-01-31T08:00:00+01:00.")] = None,
    retry: Annotated[int | None, typer.Option("--retry", help="Retries after a failure.", show_default="0")] = None,
    retry_interval: Annotated[str | None, typer.Option("--retry-interval", help="Wait before a retry: 10s.")] = None,
    retry_backoff: Annotated[
        str | None, typer.Option("--retry-backoff", help="fixed, linear or exponential.", show_default="linear")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="How long one attempt may take.", show_default="30s")
    ] = None,
    expire_at: Annotated[str | None, typer.Option("--expire-at", help="Not started after this date.")] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", help="0 to 9; higher runs first.", show_default="0")
    ] = None,
    lane: Annotated[str | None, typer.Option("--lane", help="Named line of the owner.", show_default="default")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="Kept with the task; repeatable.")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Store a task: an HTTP request, when to send it, how often to try."""
    faults: list[Fault] = []
    request = {
        "url": url,
        "method": method or ("GET" if data is None and json_data is None else "POST"),
        "headers": _pairs(header, ":", "--header", faults),
        "query": _pairs(query, "=", "--query", faults),
        "data": _body(data, json_data, faults),
    }
    timing = {
        "executionDelay": delay,
        "executeAt": at,
        "retry": retry,
        "retryInterval": retry_interval,
        "retryBackoff": retry_backoff,
        "timeout": timeout,
        "expireAt": expire_at,
        "priority": priority,
        "lane": lane,
    }
    raw = {"httpRequest": _given(request), "config": _given(timing)}
    if (entries := _pairs(metadata, "=", "--metadata", faults)) is not None:
        raw["metadata"] = entries
    if faults:
        raise InvalidRequest(faults)
    task, zone = with_services(lambda services: _submit(services, owner, raw), config, data_dir)
    if json:
        output.as_json(_as_dict(task))
    else:
        output.say(f"Task {task.id} is stored, due {output.instant(task.due_at, zone)}.")
        output.say(f"See what becomes of it: tasks-server task show {task.id}")


async def _submit(services: Services, owner_name: str, raw: dict[str, Any]) -> tuple[NewTask | Task, tzinfo]:
    owner = await services.owners.by_name(owner_name)
    zone = services.tasks.zone
    try:
        draft = validation.read(
            raw, SystemClock().now(), zone, egress=services.tasks.egress, abilities=services.tasks.abilities
        )
    except InvalidRequest as error:
        faults = [msgspec.structs.replace(fault, field=_option_of(fault.field)) for fault in error.faults]
        raise InvalidRequest(faults) from None
    return await services.tasks.submit(owner.id, draft), zone


def _option_of(field: str) -> str:
    """The option that brought a field of the request.

    >>> [_option_of(field) for field in ("httpRequest.url", "config.retryInterval", "httpRequest.headers.Host")]
    ['URL', '--retry-interval', '--header Host']
    """
    _, _, name = field.partition(".")
    name, _, entry = name.partition(".")
    if field.startswith("metadata"):
        name, entry = "metadata", field.partition(".")[2]
    if name in _RENAMED:
        return f"{_RENAMED[name]} {entry}".rstrip()
    return "--" + "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _pairs(items: list[str] | None, separator: str, option: str, faults: list[Fault]) -> dict[str, str] | None:
    """Options of the form NAME=VALUE as a map, or None when there are none."""
    if not items:
        return None
    pairs = {}
    for item in items:
        name, found, value = item.partition(separator)
        if not found:
            faults.append(Fault(option, f"must be a name and a value with {separator!r} between them", item))
        pairs[name.strip()] = value.strip() if separator == ":" else value
    return pairs


def _body(data: str | None, json_data: str | None, faults: list[Fault]) -> str | dict[str, Any] | None:
    if json_data is None:
        return data
    if data is not None:
        faults.append(Fault("--json-data", "cannot be joined with --data; give one of them"))
    try:
        return msgspec.json.decode(json_data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        faults.append(Fault("--json-data", f"must be a JSON object: {error}"))
        return None


# Showing


@app.command("list")
def list_(
    owner: Annotated[str | None, typer.Option("--owner", "-o", help="Name of the owner. Default: of all.")] = None,
    state: Annotated[
        list[State] | None, typer.Option("--state", "-s", help="Only those in this state; repeatable.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=limits.PAGE_SIZE_MAX, help="The newest so many.")
    ] = 20,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List tasks, newest first."""

    async def work(services: Services) -> tuple[list[Task], dict[str, str], tzinfo]:
        owner_id = (await services.owners.by_name(owner)).id if owner else None
        states = frozenset(state) if state else None
        query = TaskQuery(owner_id, descending=True, limit=limit, states=states)
        tasks = (await services.tasks.tasks(query)).tasks
        names = {}
        for known in {task.owner for task in tasks}:
            found = await services.owners.by_id(known)
            names[known] = found.name if found else known
        return tasks, names, services.tasks.zone

    tasks, names, zone = with_services(work, config, data_dir)
    if json:
        output.as_json([_as_dict(task) | {"owner_name": names[task.owner]} for task in tasks])
    elif not tasks:
        output.say("There are no such tasks.")
    else:
        output.table(
            ("id", "owner", "state", "due", "attempts", "status"),
            [
                (
                    *(task.id, names[task.owner], task.state.value),
                    *(output.instant(task.due_at, zone), str(task.attempt), str(task.status_code or "-")),
                )
                for task in tasks
            ],
        )


@app.command("show")
def show(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the task.")],
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show a task, what it asked for, and what happened to it."""

    async def work(services: Services) -> tuple[Task, Any, Any, tzinfo]:
        tasks = services.tasks
        spec = await tasks.spec(None, task_id)
        return await tasks.task(None, task_id), spec, await tasks.timeline(None, task_id), tasks.zone

    task, spec, timeline, zone = with_services(work, config, data_dir)
    if json:
        response = base64.b64encode(task.response).decode() if task.response is not None else None
        told = {
            "request": masking.shown_request(spec.request),
            "config": masking.shown_request(spec.config),
            "response": response,
            "timeline": timeline,
        }
        output.as_json(_as_dict(task) | told)
        return
    shown = _as_dict(task)
    facts = {
        "id": task.id,
        "state": task.state.value,
        "request": f"{spec.request.method} {masking.shown_url(spec.request.url)}",
        "due": output.instant(task.due_at, zone),
        "attempts": str(task.attempt),
        "status": str(task.status_code or "-"),
        "error": task.error or "-",
        "metadata": ", ".join(f"{name}={value}" for name, value in (shown["metadata"] or {}).items()) or "-",
        "response": _excerpt(task.response),
    }
    output.table(("", ""), list(facts.items()))
    rows = [
        (output.instant(entry.at, zone), entry.event, str(entry.status_code or ""), entry.detail or "")
        for entry in timeline
    ]
    output.table(("when", "what", "status", "detail"), rows)


def _excerpt(response: bytes | None) -> str:
    if response is None:
        return "-"
    text = response[:500].decode("utf-8", "replace")
    return text if len(response) <= 500 else f"{text}… ({len(response)} bytes)"


# Steering


def _steer(
    task_ids: list[str],
    act: Callable[[TaskService, str], Awaitable[Task | None]],
    done: str,
    options: tuple[Any, Any, bool],
) -> None:
    """Does the same to each task. What one refuses is told, the others go on; then the command fails."""
    config, data_dir, json = options

    async def work(services: Services) -> list[tuple[str, TasksServerError | None]]:
        results: list[tuple[str, TasksServerError | None]] = []
        for task_id in task_ids:
            try:
                await act(services.tasks, task_id)
                results.append((task_id, None))
            except TasksServerError as error:
                results.append((task_id, error))
        return results

    results = with_services(work, config, data_dir)
    if json:
        output.as_json([{"id": task_id, "error": error and error.message} for task_id, error in results])
    for task_id, error in results:
        if error is None and not json:
            output.say(f"Task {task_id} {done}.")
    if failed := [(task_id, error) for task_id, error in results if error is not None]:
        for task_id, error in failed[:-1]:
            output.warn(f"{task_id}: {error.message}")
        task_id, error = failed[-1]
        error.message = f"{task_id}: {error.message}"
        raise error


@app.command("pause")
def pause(task_ids: Ids, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Stop the clock of waiting or running tasks; resume goes on from there."""
    _steer(task_ids, lambda tasks, task_id: tasks.pause(None, task_id), "is paused", (config, data_dir, json))


@app.command("resume")
def resume(task_ids: Ids, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Let paused tasks go on."""
    _steer(task_ids, lambda tasks, task_id: tasks.resume(None, task_id), "goes on", (config, data_dir, json))


@app.command("revoke")
def revoke(task_ids: Ids, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Stop tasks for good. They stay on record."""
    _steer(task_ids, lambda tasks, task_id: tasks.revoke(None, task_id), "is revoked", (config, data_dir, json))


@app.command("run")
def run(task_ids: Ids, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Run waiting tasks now."""
    _steer(task_ids, lambda tasks, task_id: tasks.execute(None, task_id), "runs now", (config, data_dir, json))


@app.command("retry")
def retry(task_ids: Ids, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Run finished tasks once more, with all their retries."""
    _steer(task_ids, lambda tasks, task_id: tasks.retry(None, task_id), "runs again", (config, data_dir, json))


@app.command("delete")
def delete(task_ids: Ids, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Remove tasks and all that is known of them, in any state."""
    _steer(task_ids, lambda tasks, task_id: tasks.delete(None, task_id), "is deleted", (config, data_dir, json))
