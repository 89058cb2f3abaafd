"""`tasks-server owner key …`: the keys of an owner, changed without a pause. Like `owner`, for the operator."""

from datetime import tzinfo
from typing import Annotated

import typer

from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir, next_command, with_services
from tasks_server.cli.output import Json
from tasks_server.domain.owner import OwnerKey
from tasks_server.service.owners import IssuedKey
from tasks_server.wiring import Services

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the owner.")]
KeyId = Annotated[str, typer.Argument(help="Id of the key, as `owner key list` tells it.")]


@app.command("list")
def list_(name: Name, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """List the keys of an owner: their ids, when they were made and used last. No key is ever shown again."""

    async def work(services: Services) -> tuple[list[OwnerKey], tzinfo]:
        return await services.owners.keys(await services.owners.by_name(name)), services.tasks.zone

    keys, zone = with_services(work, config, data_dir)
    if json:
        output.as_json(
            [{"keyId": key.id, "createdAt": key.created_at, "lastUsedAt": key.used_at or None} for key in keys]
        )
        return
    rows = [(key.id, output.instant(key.created_at, zone), output.instant(key.used_at or 0, zone)) for key in keys]
    output.table(("key id", "since", "last used"), rows)


@app.command("add")
def add(name: Name, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Give an owner a second key, which is shown this once. The first one counts until it is removed."""

    async def work(services: Services) -> IssuedKey:
        return await services.owners.add_key(await services.owners.by_name(name))

    issued = with_services(work, config, data_dir)
    if json:
        output.as_json({"keyId": issued.id, "key": issued.key})
        return
    output.say(f"Owner {name} has one more key.\n")
    output.say(f"  key id  {issued.id}\n  key     {issued.key}\n")
    output.say("The key is not shown again: keep it now. Once nobody uses the other key, remove that one:\n")
    for words in (("owner", "key", "list", name), ("owner", "key", "remove", name, "KEY_ID")):
        output.say(f"  {next_command(*words, config=config, data_dir=data_dir)}")


@app.command("remove")
def remove(name: Name, key_id: KeyId, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Take a key from an owner. A running server refuses it within 10 seconds."""

    async def work(services: Services) -> None:
        await services.owners.remove_key(await services.owners.by_name(name), key_id)

    with_services(work, config, data_dir)
    if json:
        output.as_json({"removed": key_id})
    else:
        output.say(f"Key {key_id} of owner {name} is removed.")
