"""`tasks-server ui`: the way into the dashboard for whoever may read the cipher key."""

from typing import Annotated

import typer

from tasks_server import wiring
from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir, load
from tasks_server.cli.output import Json
from tasks_server.settings import Settings


def ui(
    url: Annotated[
        str | None, typer.Option(help="Where a browser reaches the server.", show_default="HOST and PORT")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Print a link that opens the dashboard as the operator: once, within ten minutes."""
    opened = load(config, data_dir, create=False)
    link = wiring.sign_in_link((url or _url(opened.settings)).rstrip("/"), opened.keys)
    if json:
        output.as_json({"url": link})
    else:
        output.say(link)


def _url(settings: Settings) -> str:
    """Where a server with these settings is found on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # read, not bound
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
