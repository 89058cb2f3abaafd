"""`tasks-server owner …`. Works on the database itself: who can read the data folder and its key is the operator."""

from datetime import tzinfo
from typing import Annotated, Any

import typer

from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir, next_command, with_services
from tasks_server.cli.output import Json
from tasks_server.domain import durations, limits
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.owner import Owner
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
    }


@app.command("create")
def create(
    name: Name,
    limit: Annotated[
        int,
        typer.Option("--limit", min=0, max=limits.TASKS_IN_QUEUE_MAX_MAX, help="Most tasks in queue at once."),
    ] = limits.TASKS_IN_QUEUE_MAX_DEFAULT,
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
    output.say(f"Owner {owner.name} may have {owner.tasks_in_queue_max} tasks in queue.\n")
    output.say(f"  id   {owner.id}\n  key  {key}\n")
    output.say("The key is not shown again: keep it now. Next, submit a task:\n")
    words = ("task", "submit", "https://example.com", "--owner", owner.name)
    output.say(f"  {next_command(*words, config=config, data_dir=data_dir)}")


@app.command("list")
def list_(config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """List all owners by name."""

    async def work(services: Services) -> tuple[list[Owner], tzinfo]:
        owners: list[Owner] = []
        while page := await services.owners.page(owners[-1].name if owners else ""):
            owners += page
        return owners, services.tasks.zone

    owners, zone = with_services(work, config, data_dir)
    if json:
        output.as_json([_as_dict(owner) for owner in owners])
    elif not owners:
        command = next_command("owner", "create", "NAME", config=config, data_dir=data_dir)
        output.say(f"There are no owners yet. Make one: {command}")
    else:
        rows = [
            (
                *(o.name, o.id, output.instant(o.created_at, zone), str(o.tasks_in_queue), str(o.tasks_in_queue_max)),
                "-" if o.retention_days is None else f"{o.retention_days:g}",
            )
            for o in owners
        ]
        output.table(("name", "id", "since", "in queue", "limit", "days kept"), rows)


@app.command("set-limit")
def set_limit(name: Name, limit: Limit, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Set how many tasks an owner may have in queue. Tasks that are in queue stay."""

    async def work(services: Services) -> Owner:
        return await services.owners.set_limit(name, limit)

    owner = with_services(work, config, data_dir)
    if json:
        output.as_json(_as_dict(owner))
    else:
        output.say(
            f"Owner {owner.name} may have {owner.tasks_in_queue_max} tasks in queue; it has {owner.tasks_in_queue}."
        )


@app.command("set-retention")
def set_retention(
    name: Name,
    days: Annotated[str, typer.Argument(help="Days to keep its history; 1h at least; `default`: as all others'.")],
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Set for how long an owner's finished tasks and attempts are kept. What is older goes within minutes."""
    retention_ms = _retention(days)

    async def work(services: Services) -> Owner:
        return await services.owners.set_retention(name, retention_ms, by_operator=True)

    owner = with_services(work, config, data_dir)
    if json:
        output.as_json(_as_dict(owner))
    elif owner.retention_days is None:
        output.say(f"The history of owner {owner.name} is kept for as long as RETENTION_DAYS says.")
    else:
        output.say(f"The history of owner {owner.name} is kept for {owner.retention_days:g} days.")


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
