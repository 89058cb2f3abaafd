"""Options that commands share, and what they lead to: the settings, and the services over an open store."""

import asyncio
import os
import pwd
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
import typer

from tasks_server import wiring
from tasks_server.cli import output
from tasks_server.domain import encodings
from tasks_server.domain.audit import Actor
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.service.acting import acting
from tasks_server.settings import Settings, marker, resolve
from tasks_server.settings.places import Places, cipher_keys, make_database, places, prepare, refuse_missing
from tasks_server.wiring import Services

_T = TypeVar("_T")

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file with settings.", show_default="/etc/tasks-server.toml"),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="FOLDER", help="Folder of the database and its key.", show_default=False),
]


_FILE: Final = "--config"


def check_text(arguments: Sequence[str]) -> None:
    """Raises `InvalidRequest` for arguments that are no text in UTF-8: nothing could be made of them. The name of a
    file to read may be anything; those of databases are text to SQLite.
    """
    faults = []
    option = ""
    for argument in arguments:
        name, has_value, _ = argument.partition("=")
        if argument.startswith("--") and has_value:
            option = name
        other = encodings.other_than_utf8(os.fsencode(argument))
        if other is not None and option != _FILE:
            faults.append(Fault(option or "argument", other))
        option = argument if argument.startswith("-") and not has_value else ""
    if faults:
        raise InvalidRequest(faults)


def next_command(*words: str, config: Path | None, data_dir: Path | None) -> str:
    """A command to run after this one, as it is typed: of the same program, with the same settings."""
    program = sys.argv[0] if "/" in sys.argv[0] else "tasks-server"
    same = {"--config": config, "--data-dir": data_dir}
    given = [str(word) for option, value in same.items() if value is not None for word in (option, value)]
    return shlex.join([program, *words, *given])


HandlerModules = Annotated[
    list[str] | None,
    typer.Option(
        "--handlers",
        metavar="MODULE",
        help="Module with handlers to import, as `myapp.tasks`; again, or with commas, for several. The working "
        "directory is searched first.",
        show_default=False,
    ),
]
HandlerProcesses = Annotated[
    int | None, typer.Option("--handler-processes", help="Processes in which handlers run.", show_default="1")
]
HandlerIsolation = Annotated[
    str | None,
    typer.Option(
        "--handler-isolation",
        help="shared: runs share these processes; task: each has one run at a time.",
        show_default="shared",
    ),
]
HandlerCallsMax = Annotated[
    int | None,
    typer.Option(
        "--handler-calls-max",
        help="Runs after which such a process is replaced, against leaks; 0: never.",
        show_default="0",
    ),
]
HandlersOnly = Annotated[
    bool | None,
    typer.Option("--handlers-only", help="Run handlers, and leave HTTP tasks to other engines.", show_default=False),
]


class Opened(msgspec.Struct):
    """The settings of a command, and where they put things."""

    settings: Settings
    where: Places
    keys: list[bytes]


def load(config: Path | None, data_dir: Path | None, *, create: bool) -> Opened:
    """The settings, with the data folder, key and database made when `create` and they are missing. Warnings are
    printed.
    """
    resolved = resolve({"data_dir": data_dir}, config)
    where = places(resolved.settings)
    marker.refuse_other(resolved, where)
    if create:
        prepare(where)
    else:
        refuse_missing(where)
    keys = cipher_keys(resolved.settings, where, resolved.warnings, create)
    if create:
        make_database(where)
    for warning in resolved.warnings:
        output.warn(warning)
    return Opened(resolved.settings, where, keys)


def with_services(
    work: Callable[[Services], Awaitable[_T]], config: Path | None, data_dir: Path | None, *, create: bool = False
) -> _T:
    """What `work` gives, called with the services over the store. `create` makes a database that is missing."""
    opened = load(config, data_dir, create=create)

    async def run() -> _T:
        with acting(Actor("operator", "cli", _user())):
            return await _run(work, opened)

    return asyncio.run(run())


async def _run(work: Callable[[Services], Awaitable[_T]], opened: Opened) -> _T:
    async with wiring.services(opened.settings, opened.where, opened.keys) as services:
        return await work(services)


def _user() -> str:
    """The user of the system who runs the command, for the record of what is done by hand."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
