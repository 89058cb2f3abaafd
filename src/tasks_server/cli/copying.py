"""`tasks-server db copy`: moves all that a database holds to another one."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks_server import wiring
from tasks_server.cli import output
from tasks_server.cli.options import Config, DataDir
from tasks_server.cli.output import Json
from tasks_server.domain.errors import SettingsError
from tasks_server.settings import marker, resolve
from tasks_server.settings.places import cipher_keys, located, places, refuse_missing
from tasks_server.store.postgres.address import is_postgres, shown

if TYPE_CHECKING:
    from tasks_server.store.copying.transfer import Copied, Step

From = Annotated[
    str | None, typer.Option("--from", metavar="URL", help="The database to copy.", show_default="that of the settings")
]
To = Annotated[
    str | None, typer.Option("--to", metavar="URL", help="The one to fill.", show_default="that of the settings")
]
Live = Annotated[
    bool,
    typer.Option(
        "--live",
        help="Copy though servers work on the source. What comes in or is done from then on is lost to the copy, and "
        "tasks that wait or run then are called from both databases.",
    ),
]
ReplaceTarget = Annotated[
    bool,
    typer.Option(
        "--replace-target", help="Delete every owner, key, task and attempt that the target holds, for good, first."
    ),
]


def copy(
    source: From = None,
    target: To = None,
    live: Live = False,
    replace_target: ReplaceTarget = False,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Copy all that a database holds to another one, SQLite or PostgreSQL. Cut off, the same command goes on."""
    resolved = resolve({"data_dir": data_dir}, config)
    where = places(resolved.settings)
    giving = located(source, "--from") if source is not None else where.locator
    taking = located(target, "--to") if target is not None else where.locator
    if giving == taking:
        raise SettingsError("--from and --to name the same database")
    if source is None:
        marker.refuse_other(resolved, where)
        refuse_missing(where)
    keys = cipher_keys(resolved.settings, where, resolved.warnings, create=False)
    for warning in resolved.warnings:
        output.warn(warning)
    with _watched() as told:
        copied = wiring.copy_database(
            giving, taking, keys, told, live=live, replace_target=replace_target, key_source=where.key_source
        )
    _tell(copied, _named(giving), _named(taking), json)


def _named(database: str) -> str:
    return shown(database) if is_postgres(database) else database


@contextlib.contextmanager
def _watched() -> "Iterator[Callable[[Step], None]]":
    """Shows how it goes on the error output, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    bars: dict[str, TaskID] = {}
    columns: Any = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def told(step: "Step") -> None:
            bar = bars.get(step.doing)
            if bar is None:
                bar = bars[step.doing] = progress.add_task(
                    step.doing.replace("_", " "), total=step.total or None, completed=step.done, rate=""
                )
            speed = progress.tasks[bar].speed
            progress.update(bar, completed=step.done, rate=f"{speed:,.0f} rows/s" if speed else "")

        yield told


def _tell(copied: "Copied", source: str, target: str, json: bool) -> None:
    if json:
        output.as_json(
            {
                "from": source,
                "to": target,
                "tables": {
                    name: {"rows": found.rows, "checksum": found.shown} for name, found in copied.tables.items()
                },
                "moved": copied.moved,
                "resumed": copied.resumed,
                "already": copied.already,
                "seconds": round(copied.seconds, 3),
            }
        )
        return
    output.table(
        ("Table", "Rows", "Checksum"), [(name, f"{found.rows:,}", found.shown) for name, found in copied.tables.items()]
    )
    if copied.already:
        output.say(f"{source} was copied to {target} before; nothing was done.")
        return
    rate = f", {copied.moved / copied.seconds:,.0f} rows/s" if copied.seconds else ""
    went_on = " where an earlier run had stopped" if copied.resumed else ""
    output.say(
        f"Copied {source} to {target}{went_on}: {copied.moved:,} rows in {copied.seconds:,.1f} s{rate}. "
        "Counts and checksums agree."
    )
