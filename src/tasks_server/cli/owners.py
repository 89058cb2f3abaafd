"""`tasks-server owner …`. Works on the database itself: who can read the data folder and its key is the operator."""

from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any

import typer

from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir, next_command, with_services
from tasks_server.cli.output import Json
from tasks_server.domain import durations, limits
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.owner import Owner
from tasks_server.service.owners import OwnerEdit
from tasks_server.wiring import Services

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the owner: 5 to 32 of a-z, 0-9 and single hyphens.")]
Limit = Annotated[int, typer.Argument(min=0, max=limits.TASKS_IN_QUEUE_MAX_MAX, help="Most tasks in queue.")]


def _as_dict(owner: Owner) -> dict[str, Any]:
    return {
        "id": owner.id,
        "name": owner.name,
        "createdAt": owner.created_at,
        "tasksInQueue": owner.tasks_in_queue,
        "tasksInQueueLimit": owner.tasks_in_queue_max,
        "retentionDays": owner.retention_days,
        "requestsPerMinute": owner.requests_max,
        "suspended": owner.suspended_at is not None,
        "suspendedAt": owner.suspended_at,
    }


@app.command("create")
def create(
    name: Name,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=0,
            max=limits.TASKS_IN_QUEUE_MAX_MAX,
            help="Most tasks in queue at once, due or not.",
            show_default="QUEUE_LIMIT",
        ),
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Register an owner; its key is shown this once."""

    async def work(services: Services) -> tuple[Owner, str]:
        owner, issued = await services.owners.register(name, limit)
        return owner, issued.key

    owner, key = with_services(work, config, data_dir, create=True)
    if json:
        output.as_json(_as_dict(owner) | {"key": key})
        return
    output.say(f"Owner {owner.name} may have {owner.tasks_in_queue_max} tasks in queue, those that wait included.\n")
    output.say(f"  id   {owner.id}\n  key  {key}\n")
    output.say("The key is not shown again: keep it now. Next, submit a task:\n")
    words = ("task", "submit", "https://example.com", "--owner", owner.name)
    output.say(f"  {next_command(*words, config=config, data_dir=data_dir)}")


@app.command("list")
def list_(
    prefix: Annotated[str, typer.Option("--prefix", help="Only those whose name begins with this.")] = "",
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List owners by name."""

    async def work(services: Services) -> tuple[list[Owner], tzinfo]:
        owners: list[Owner] = []
        while page := await services.owners.page(owners[-1].name if owners else "", prefix=prefix):
            owners += page
        return owners, services.tasks.zone

    owners, zone = with_services(work, config, data_dir)
    if json:
        output.as_json([_as_dict(owner) for owner in owners])
    elif not owners and prefix:
        output.say(f"There are no owners whose name begins with {prefix}.")
    elif not owners:
        command = next_command("owner", "create", "NAME", config=config, data_dir=data_dir)
        output.say(f"There are no owners yet. Make one: {command}")
    else:
        rows = [
            (
                *(o.name, o.id, output.instant(o.created_at, zone), str(o.tasks_in_queue), str(o.tasks_in_queue_max)),
                "-" if o.retention_days is None else f"{o.retention_days:g}",
                "-" if o.requests_max is None else str(o.requests_max),
                "active" if o.suspended_at is None else "suspended",
            )
            for o in owners
        ]
        output.table(("name", "id", "since", "in queue", "limit", "days kept", "requests a minute", "state"), rows)


@app.command("show")
def show(name: Name, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Show an owner: its limits, how many tasks it has in queue, whether it is suspended."""

    async def work(services: Services) -> tuple[Owner, tzinfo]:
        return await services.owners.by_name(name), services.tasks.zone

    owner, zone = with_services(work, config, data_dir)
    if json:
        output.as_json(_as_dict(owner))
        return
    since = None if owner.suspended_at is None else output.instant(owner.suspended_at, zone)
    facts = {
        "name": owner.name,
        "id": owner.id,
        "since": output.instant(owner.created_at, zone),
        "state": "active" if since is None else f"suspended since {since}",
        "tasks in queue": f"{owner.tasks_in_queue} of {owner.tasks_in_queue_max}",
        "history is kept": "as all others'" if owner.retention_days is None else f"{owner.retention_days:g} days",
        "requests a minute": "as all others" if owner.requests_max is None else str(owner.requests_max),
    }
    output.table(("", ""), list(facts.items()))


@app.command("suspend")
def suspend(name: Name, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Let no more tasks of an owner start, and refuse its keys, until it is resumed. Tasks that run go on."""
    owner = _edited(name, OwnerEdit(suspended=True), config, data_dir)
    _told(owner, f"Owner {owner.name} is suspended: its tasks wait; its keys are refused within 10 seconds.", json)


@app.command("resume")
def resume(name: Name, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Let an owner go on that was suspended. What its schedules missed, they treat as they do after a standstill."""
    owner = _edited(name, OwnerEdit(suspended=False), config, data_dir)
    _told(owner, f"Owner {owner.name} goes on; its keys are taken again within 10 seconds.", json)


@app.command("set-rate")
def set_rate(
    name: Name,
    requests: Annotated[
        str, typer.Argument(help="Requests a minute that each API process takes of it; `default`: as of all others.")
    ],
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Set how many requests an owner may send a minute, in place of MAX_THROTTLE_REQUEST."""
    owner = _edited(name, OwnerEdit(requests_max=_rate(requests)), config, data_dir)
    many = "as many requests as all others" if owner.requests_max is None else f"{owner.requests_max} requests a minute"
    _told(owner, f"Owner {owner.name} may send {many}, to each API process.", json)


def _rate(text: str) -> int | None:
    """A number of requests; None: the default. Raises `InvalidRequest`."""
    if text == "default":
        return None
    if text.isascii() and text.isdigit() and 1 <= int(text) <= limits.REQUESTS_PER_MINUTE_MAX:
        return int(text)
    allowed = f"a number from 1 to {limits.REQUESTS_PER_MINUTE_MAX}, or default"
    raise InvalidRequest([Fault("REQUESTS", f"must be {allowed}", text, allowed)])


def _edited(name: str, edit: OwnerEdit, config: Path | None, data_dir: Path | None) -> Owner:
    """The owner under what the operator changes."""

    async def work(services: Services) -> Owner:
        return await services.owners.edit(name, edit, "operator")

    return with_services(work, config, data_dir)


def _told(owner: Owner, done: str, json: bool) -> None:
    if json:
        output.as_json(_as_dict(owner))
    else:
        output.say(done)


@app.command("set-limit")
def set_limit(name: Name, limit: Limit, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Set how many tasks an owner may have in queue. Tasks that are in queue stay."""
    owner = _edited(name, OwnerEdit(tasks_in_queue_max=limit), config, data_dir)
    told = f"Owner {owner.name} may have {owner.tasks_in_queue_max} tasks in queue; it has {owner.tasks_in_queue}."
    _told(owner, told, json)


@app.command("set-retention")
def set_retention(
    name: Name,
    days: Annotated[str, typer.Argument(help="Days to keep its history; 1h at least; `default`: as all others'.")],
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Set for how long an owner's finished tasks and attempts are kept. What is older goes within minutes."""
    owner = _edited(name, OwnerEdit(retention_ms=_retention(days)), config, data_dir)
    kept = (
        "for as long as RETENTION_DAYS says" if owner.retention_days is None else f"for {owner.retention_days:g} days"
    )
    _told(owner, f"The history of owner {owner.name} is kept {kept}.", json)


def _retention(text: str) -> int | None:
    """A number of days, or a duration with units, in ms; None: the default. Raises `InvalidRequest`."""
    if text == "default":
        return None
    try:
        return durations.duration_ms(text) if text[-1:].isalpha() else round(float(text) * limits.DAY_MS)
    except (ValueError, OverflowError):
        allowed = "a number of days, a duration such as 12h, or default"
        raise InvalidRequest([Fault("DAYS", f"must be {allowed}", text, allowed)]) from None


@app.command("delete")
def delete(name: Name, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Remove an owner with its keys and finished tasks. Refused while it has tasks in queue."""

    async def work(services: Services) -> Owner:
        return await services.owners.delete(name)

    owner = with_services(work, config, data_dir)
    if json:
        output.as_json({"deleted": owner.name})
    else:
        output.say(f"Owner {owner.name} is removed.")
