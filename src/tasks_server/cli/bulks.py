"""`tasks-server bulk …`. Asks for work on many tasks at once; the engines of a running server do it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from tasks_server.api.bulk_wire import bulk_view, read_bulk, sight_view
from tasks_server.cli import output, submit
from tasks_server.cli.faults import in_options
from tasks_server.cli.options import Config, DataDir, next_command, with_services
from tasks_server.cli.output import Json
from tasks_server.domain import limits
from tasks_server.domain.bulk import Bulk
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.service.bulks import Sight
from tasks_server.wiring import Services

app = typer.Typer(no_args_is_help=True)

_RENAMED: Final = {
    "action": "ACTION",
    "states": "--state",
    "errorContains": "--error",
    "ids": "--id",
    "dryRun": "--dry-run",
}
"""Fields of the request whose option has another name."""
_LOOK_SECONDS: Final = 0.2

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the bulk work.")]
_Action = Annotated[
    str, typer.Argument(metavar="ACTION", help="What to do: retry, revoke, delete, pause, resume, execute.")
]
_State = Annotated[
    list[str] | None,
    typer.Option("--state", "-s", help="Only those in this state (ERROR); repeatable. Default: as fits the action."),
]
_Status = Annotated[
    str | None, typer.Option("--status-code", help="Only those with this last status: 503, 5xx; 0: no answer.")
]
_Error = Annotated[str | None, typer.Option("--error", help="Only those whose last error holds this text.")]
Wait = Annotated[bool, typer.Option("--wait", help="Show how far it comes until it has ended.")]


@app.command("create")
def create(
    action: _Action,
    owner: Annotated[str, typer.Option("--owner", "-o", help="Name of the owner of the tasks.")],
    all_: Annotated[bool, typer.Option("--all", help="All tasks of the owner that the action is for.")] = False,
    state: _State = None,
    lane: Annotated[str | None, typer.Option("--lane", help="Only those of this lane.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Only calls to this host, with or without port.")] = None,
    handler: Annotated[str | None, typer.Option("--handler", help="Only those that run this handler.")] = None,
    schedule: Annotated[str | None, typer.Option("--schedule", help="Only those of this schedule; id or name.")] = None,
    status_code: _Status = None,
    error: _Error = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="Only those with this; repeatable.")
    ] = None,
    created_since: Annotated[
        str | None, typer.Option("--created-since", help="Registered at this date or later.")
    ] = None,
    created_until: Annotated[str | None, typer.Option("--created-until", help="Registered before this date.")] = None,
    ended_since: Annotated[str | None, typer.Option("--ended-since", help="Ended from this date on.")] = None,
    ended_until: Annotated[str | None, typer.Option("--ended-until", help="Ended before this date.")] = None,
    task_id: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="Only these; repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; count what would change.")] = False,
    wait: Wait = False,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Ask for one action on all tasks that fit every option."""
    faults: list[Fault] = []
    asked = {
        "all": all_ or None,
        "states": state or None,
        "lane": lane,
        "host": host,
        "handler": handler,
        "schedule": schedule,
        "statusCode": int(status_code) if status_code and status_code.isdecimal() else status_code,
        "errorContains": error,
        "metadata": submit.pairs(metadata, "=", "--metadata", faults),
        "createdSince": created_since,
        "createdUntil": created_until,
        "endedSince": ended_since,
        "endedUntil": ended_until,
        "ids": task_id,
    }
    if faults:
        raise InvalidRequest(faults)
    raw = {"action": action, "filter": submit.given(asked), "dryRun": dry_run}
    run(lambda services: _create(services, owner, raw), wait=wait, json=json, options=(config, data_dir))


def run(
    create: Callable[[Services], Awaitable[Bulk | Sight]],
    *,
    wait: bool,
    json: bool,
    options: tuple[Path | None, Path | None],
) -> None:
    """Asks for bulk work and tells what became of it; with `wait`, once it has ended. `options`: settings file and data
    folder.
    """
    progress = _line if wait and not json else None

    async def work(services: Services) -> Bulk | Sight:
        made = await create(services)
        return await _ended(services, made, progress) if wait and isinstance(made, Bulk) else made

    made = with_services(work, *options)
    if isinstance(made, Sight):
        _told_sight(made, json)
    elif json:
        output.as_json(bulk_view(made))
    elif not wait:
        config, data_dir = options
        output.say(f"Bulk work {made.id} is stored; it will look at about {made.total} tasks.")
        command = next_command("bulk", "show", made.id, "--wait", config=config, data_dir=data_dir)
        output.say(f"See how far it comes: {command}")


async def _create(services: Services, owner_name: str, raw: dict[str, Any]) -> Bulk | Sight:
    """The work, stored, or what it would do; faults are told by the options that brought them."""
    owner = await services.owners.by_name(owner_name)
    try:
        asked = read_bulk(raw, services.bulks.zone)
        if asked.dry_run:
            return await services.bulks.sight(owner.id, asked.action, asked.filter)
        return await services.bulks.create(owner.id, asked.action, asked.filter, "operator")
    except InvalidRequest as error:
        raise in_options(_without_conditions(error), _option_of) from None


def _without_conditions(error: InvalidRequest) -> InvalidRequest:
    """The same, with the options named that may be conditions where there is none."""
    return InvalidRequest([_no_condition(fault) if fault.field == "filter" else fault for fault in error.faults])


def _no_condition(fault: Fault) -> Fault:
    options = ", ".join(_option_of(name) for name in fault.allowed or () if name != "all")
    return Fault("", f"no condition is given; give any of {options}; or --all for every task of the owner")


def _option_of(field: str) -> str:
    """The option that brought a field of the request.

    >>> [_option_of(field) for field in ("action", "filter", "filter.endedSince", "filter.ids.0", "filter.metadata.a")]
    ['ACTION', '--all', '--ended-since', '--id', '--metadata a']
    """
    name, _, entry = field.removeprefix("filter.").partition(".")
    if not name:
        return "filter"
    if name == "filter":
        return "--all"
    words = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)
    option = _RENAMED.get(name, f"--{words}")
    return f"{option} {entry}" if entry and not entry.isdecimal() else option


async def _ended(services: Services, bulk: Bulk, progress: Callable[[Bulk], None] | None) -> Bulk:
    """The work once it has ended; how far it has come is told whenever that has changed."""
    told = None
    while True:
        standing = (bulk.standing, bulk.seen)
        if progress is not None and standing != told:
            progress(bulk)
            told = standing
        if bulk.ended_at:
            return bulk
        await asyncio.sleep(_LOOK_SECONDS)
        bulk = await services.bulks.show(None, bulk.id)


def _line(bulk: Bulk) -> None:
    total = max(bulk.total, bulk.seen)
    waits = f" for {bulk.waits}" if bulk.standing == "waiting" else ""
    counts = f"{bulk.seen} of {total} seen, {bulk.changed} changed, {bulk.skipped} skipped"
    error = f" ({bulk.error})" if bulk.error else ""
    output.say(f"{bulk.id} {bulk.standing}{waits}: {counts}{error}")
    sys.stdout.flush()


def _told_sight(sight: Sight, json: bool) -> None:
    if json:
        output.as_json(sight_view(sight))
        return
    more = "" if sight.whole else f", of the first {sight.seen} tasks; there are more"
    output.say(f"{sight.action.value} would change {sight.changed} tasks and skip {sight.skipped}{more}.")
    if sight.sample:
        output.say(f"For example: {' '.join(sight.sample)}")


@app.command("list")
def list_(
    owner: Annotated[str | None, typer.Option("--owner", "-o", help="Name of the owner. Default: of all.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=limits.PAGE_SIZE_MAX, help="The newest so many.")
    ] = 20,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List bulk work, newest first."""

    async def work(services: Services) -> tuple[list[Bulk], tzinfo]:
        owner_id = (await services.owners.by_name(owner)).id if owner else None
        return await services.bulks.page(owner_id, "", limit), services.bulks.zone

    found, zone = with_services(work, config, data_dir)
    if json:
        output.as_json([bulk_view(bulk) for bulk in found])
    elif not found:
        output.say("There is no bulk work.")
    else:
        rows = [
            (
                *(bulk.id, bulk.action.value, bulk.standing, output.instant(bulk.created_at, zone)),
                *(f"{bulk.seen}/{max(bulk.total, bulk.seen)}", str(bulk.changed), str(bulk.skipped)),
            )
            for bulk in found
        ]
        output.table(("id", "action", "state", "asked for", "seen", "changed", "skipped"), rows)
    output.warn_of((bulk.id, bulk.unreadable) for bulk in found)


@app.command("show")
def show(bulk_id: Id, wait: Wait = False, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Show bulk work and how far it has come."""
    progress = _line if wait and not json else None

    async def work(services: Services) -> tuple[Bulk, tzinfo]:
        bulk = await services.bulks.show(None, bulk_id)
        return (await _ended(services, bulk, progress) if wait else bulk), services.bulks.zone

    bulk, zone = with_services(work, config, data_dir)
    view = bulk_view(bulk)
    if json:
        output.as_json(view)
    elif not wait:
        facts = {
            "id": bulk.id,
            "action": view.action,
            "filter": msgspec.json.encode(view.filter).decode(),
            "state": view.state + (f" for {bulk.waits}" if bulk.waits else ""),
            "seen": f"{view.seen} of about {view.total}",
            "changed, skipped": f"{view.changed}, {view.skipped}",
            "asked for": f"{output.instant(bulk.created_at, zone)} by {bulk.asked_by}",
            "started": output.instant(bulk.started_at, zone),
            "ended": output.instant(bulk.ended_at, zone),
            "error": bulk.error or bulk.unreadable or "-",
        }
        output.table(("", ""), list(facts.items()))


@app.command("cancel")
def cancel(bulk_id: Id, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """End bulk work where it stands; what it has changed stays so."""

    async def work(services: Services) -> Bulk:
        return await services.bulks.cancel(None, bulk_id)

    bulk = with_services(work, config, data_dir)
    if json:
        output.as_json(bulk_view(bulk))
    else:
        output.say(f"Bulk work {bulk.id} is {bulk.standing}; it has changed {bulk.changed} tasks.")
