"""`tasks-server owner …`. Works on the database itself: who can read the data folder and its key is the operator."""

from datetime import tzinfo
from typing import Annotated, Any

import typer

from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir, next_command, with_services
from tasks_server.cli.output import Json
from tasks_server.domain import limits
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
            (o.name, o.id, output.instant(o.created_at, zone), str(o.tasks_in_queue), str(o.tasks_in_queue_max))
            for o in owners
        ]
        output.table(("name", "id", "since", "in queue", "limit"), rows)


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
