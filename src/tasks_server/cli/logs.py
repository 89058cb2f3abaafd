"""`tasks-server logs`: the execution log, from the database itself."""

import contextlib
from datetime import tzinfo
from typing import Annotated, Any

import typer
from msgspec.structs import replace

from tasks_server.api.log_routes import entry_view, read_query
from tasks_server.cli import output
from tasks_server.cli.faults import in_options
from tasks_server.cli.options import Config, DataDir, with_services
from tasks_server.cli.output import Json
from tasks_server.domain import durations, limits
from tasks_server.domain.errors import InvalidRequest
from tasks_server.store.journal import LogEntry
from tasks_server.wiring import Services

_State = Annotated[
    list[str] | None, typer.Option("--state", "-s", help="Only SUCCESS, ERROR, STOPPED, or an outcome; repeatable.")
]
_Status = Annotated[
    list[str] | None, typer.Option("--status", help="Only this status, or class: 404, 5xx; 0: no answer; repeatable.")
]
_Since = Annotated[str | None, typer.Option("--since", help="Only what ended since this date, or so long ago: 2h.")]
_Until = Annotated[str | None, typer.Option("--until", help="Only what ended before this date, or so long ago.")]
_OPTIONS = {"statusCode": "--status"}


def logs(
    owner: Annotated[str | None, typer.Option("--owner", "-o", help="Name of the owner. Default: of all.")] = None,
    state: _State = None,
    status: _Status = None,
    host: Annotated[str | None, typer.Option("--host", help="Only calls of this host, or host:port.")] = None,
    handler: Annotated[str | None, typer.Option("--handler", help="Only runs of this handler.")] = None,
    lane: Annotated[str | None, typer.Option("--lane", help="Only this lane.")] = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", help="Only tasks of this schedule: its id, or with --owner its name.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="Only this task, by its id.")] = None,
    since: _Since = None,
    until: _Until = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=limits.PAGE_SIZE_MAX, help="The newest so many.")
    ] = 20,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show attempts that have ended, of all tasks, newest first."""
    given = {
        "state": ",".join(state or ()),
        "statusCode": ",".join(status or ()),
        "host": host,
        "handler": handler,
        "lane": lane,
        "schedule": schedule,
        "task": task,
        "since": since,
        "until": until,
        "limit": str(limit),
    }

    async def work(services: Services) -> tuple[list[LogEntry], dict[str, str], tzinfo]:
        asked = {name: value for name, value in given.items() if value}
        try:
            found = await _read(services, owner, asked, limit)
        except InvalidRequest as error:
            raise in_options(error, _option_of) from None
        names = {}
        for known in {entry.owner for entry in found}:
            one = await services.owners.by_id(known)
            names[known] = one.name if one else known
        return found, names, services.journal.zone

    found, names, zone = with_services(work, config, data_dir)
    if json:
        output.as_json([entry_view(entry) for entry in found])
    elif not found:
        output.say("There are no such attempts.")
    else:
        columns = ("ended", "owner", "task", "no.", "outcome", "status", "target", "took ms", "late ms", "detail")
        output.table(columns, [_row(entry, names, zone) for entry in found])


async def _read(services: Services, owner: str | None, asked: dict[str, str], limit: int) -> list[LogEntry]:
    """The newest entries: pages are followed until there are enough of them, or the log ends."""
    owner_id = (await services.owners.by_name(owner)).id if owner else None
    now = services.clock.now()
    query = read_query(
        owner_id, {name: dated(name, value, now) for name, value in asked.items()}, services.journal.zone
    )
    found: list[LogEntry] = []
    while True:
        page = await services.journal.page(query)
        found += page.entries
        if page.next is None or len(found) >= limit:
            return found[:limit]
        query = replace(query, after=page.next)


def dated(name: str, value: str, now: int) -> str:
    """The value; of an instant that is given as so long ago, its milliseconds."""
    if name in ("since", "until"):
        with contextlib.suppress(ValueError):
            return str(max(0, now - durations.duration_ms(value)))
    return value


def _option_of(field: str) -> str:
    name = field.removeprefix("query.")
    return _OPTIONS.get(name, f"--{name}")


def _row(entry: LogEntry, names: dict[str, str], zone: tzinfo) -> tuple[Any, ...]:
    attempt = entry.attempt
    return (
        output.instant(attempt.ended_at, zone),
        names[entry.owner],
        entry.task,
        str(attempt.number),
        attempt.outcome.value,
        str(attempt.status_code or "-"),
        entry.target,
        str(attempt.ended_at - attempt.started_at),
        str(attempt.started_at - attempt.due_at),
        ", ".join(
            part for part in (attempt.error, attempt.unreadable, output.redirected_text(attempt.redirected)) if part
        ),
    )
