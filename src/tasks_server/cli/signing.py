"""`tasks-server owner signing …`: how the calls of an owner are signed. Like `owner`, for the operator."""

from datetime import tzinfo
from pathlib import Path
from typing import Annotated

import typer

from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir, with_services
from tasks_server.cli.output import Json
from tasks_server.domain import limits
from tasks_server.domain.signing import Signing
from tasks_server.wiring import Services

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the owner.")]


@app.command("show")
def show(name: Name, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Show whether calls are signed, and the secrets to verify them with."""

    async def work(services: Services) -> tuple[Signing, tzinfo]:
        return await services.owners.signing(await services.owners.by_name(name)), services.tasks.zone

    _tell(*with_services(work, config, data_dir), json)


@app.command("rotate")
def rotate(
    name: Name,
    overlap: Annotated[
        int,
        typer.Option(
            "--overlap",
            metavar="SECONDS",
            min=0,
            max=limits.SIGNING_OVERLAP_MAX_SECONDS,
            help="How long the secret before stays valid beside the new one.",
        ),
    ] = limits.SIGNING_OVERLAP_DEFAULT_SECONDS,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Make a new secret. A running server signs with it within 10 seconds."""

    async def work(services: Services) -> tuple[Signing, tzinfo]:
        owner = await services.owners.by_name(name)
        return await services.owners.rotate_signing(owner, overlap), services.tasks.zone

    _tell(*with_services(work, config, data_dir), json)


@app.command("on")
def switch_on(name: Name, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Sign the calls of an owner."""
    _switch(name, True, config, data_dir, json)


@app.command("off")
def switch_off(name: Name, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Do not sign the calls of an owner. Its secrets stay as they are."""
    _switch(name, False, config, data_dir, json)


def _switch(name: str, enabled: bool, config: Path | None, data_dir: Path | None, json: bool) -> None:
    async def work(services: Services) -> tuple[Signing, tzinfo]:
        owner = await services.owners.by_name(name)
        return await services.owners.set_signing(owner, enabled), services.tasks.zone

    _tell(*with_services(work, config, data_dir), json)


def _tell(signing: Signing, zone: tzinfo, json: bool) -> None:
    if json:
        secrets = [
            {"id": one.id, "secret": one.text, "createdAt": one.created_at, "expiresAt": one.expires_at}
            for one in signing.secrets
        ]
        output.as_json({"enabled": signing.enabled, "secrets": secrets})
        return
    output.say("Calls are signed (`tasks-server docs signing`)." if signing.enabled else "Calls are not signed.")
    rows = [
        (one.text, output.instant(one.created_at, zone), output.instant(one.expires_at or 0, zone))
        for one in signing.secrets
    ]
    output.table(("secret", "since", "until"), rows)
