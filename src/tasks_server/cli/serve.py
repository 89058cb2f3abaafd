"""`tasks-server serve`: makes sure that everything is there, binds the port, and turns into the supervisor."""

import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from tasks_server import __version__, serving, supervisor, wiring
from tasks_server.cli import rereading
from tasks_server.cli.options import (
    Config,
    DataDir,
    HandlerCallsMax,
    HandlerIsolation,
    HandlerModules,
    HandlerProcesses,
    HandlersOnly,
    next_command,
)
from tasks_server.domain.errors import SettingsError
from tasks_server.settings import Resolved, Settings, marker, resolve
from tasks_server.settings.places import Places, cipher_keys, make_database, places, prepare, refuse_missing
from tasks_server.settings.table import CONFIG_ENV
from tasks_server.telemetry.events import DatabaseChanged, SettingIgnored

_FINDING: Final = ("database_url", "path_sqlite", "cipher_key", "cipher_key_file")
"""Settings by which a command finds the database of the server, beside those that it is given as options."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 picks a free one.", show_default="9420")
    ] = None,
    role: Annotated[str | None, typer.Option(help="What to run: all, api, engine.", show_default="all")] = None,
    api_workers: Annotated[int | None, typer.Option(help="API processes.", show_default="1")] = None,
    grace_seconds: Annotated[
        float | None, typer.Option(help="How long a stop waits for calls in flight.", show_default="8")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, console or json.", show_default="auto")] = None,
    handlers: HandlerModules = None,
    handler_processes: HandlerProcesses = None,
    handler_isolation: HandlerIsolation = None,
    handler_calls_max: HandlerCallsMax = None,
    handlers_only: HandlersOnly = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Run the server. Needs no configuration; stops in order on Ctrl-C or SIGTERM; SIGHUP reloads settings."""
    flags = {
        "host": host,
        "port": port,
        "role": role,
        "api_workers": api_workers,
        "grace_seconds": grace_seconds,
        "log_level": log_level,
        "log_format": log_format,
        "handlers": joined(handlers),
        "handler_processes": handler_processes,
        "handler_isolation": handler_isolation,
        "handler_calls_max": handler_calls_max,
        "handlers_only": handlers_only,
        "data_dir": data_dir,
    }
    start(flags, config)


def joined(modules: list[str] | None) -> str | None:
    """An option that was given several times, as its setting writes it."""
    return None if modules is None else ",".join(modules)


def start(flags: dict[str, Any], config: Path | None, *, beside_a_server: bool = False) -> None:
    """Turns this process into a server with these settings, or into a part that works on the database of one
    (`beside_a_server`), which must be there. Never returns.
    """
    resolved = resolve(flags, config)
    settings, where = resolved.settings, places(resolved.settings)
    if beside_a_server:
        marker.refuse_other(resolved, where)
        refuse_missing(where)
    else:
        marker.refuse_unnamed(resolved, where)
    prepare(where)
    warnings = resolved.warnings
    keys = cipher_keys(settings, where, warnings, create=True)
    if not beside_a_server:
        make_database(where)
    listener = serving.bind(settings.host, settings.port) if settings.role != "engine" else None
    told = wiring.telemetry(wiring.log_plan(settings))
    for warning in warnings:
        told.emit(SettingIgnored(message=warning))
    if not beside_a_server and (before := marker.leave(where)):
        told.emit(DatabaseChanged(before=before, now=where.shown))
    first = _first_owner(resolved, where, config) if listener is not None and not wiring.has_owners(where) else []
    orders = _orders(settings, where, keys, listener, first)
    orders.reread, orders.in_force = rereading.command(), rereading.in_force(flags, config, settings, keys)
    supervisor.replace_this_process(orders)


def _orders(
    settings: Settings, where: Places, keys: list[bytes], listener: socket.socket | None, first: list[str]
) -> supervisor.Orders:
    url, loopback, listen_fd = "", False, -1
    if listener is not None:
        url, loopback = serving.url_of(listener), serving.is_loopback(listener)
        if settings.default_owner is not None and not loopback:
            listener.close()
            raise SettingsError(
                f"DEFAULT_OWNER is {settings.default_owner}: whoever reaches the server would act for that owner, "
                "without a key. It goes with a server that listens on loopback only: set HOST to 127.0.0.1, or take "
                "DEFAULT_OWNER out and send keys"
            )
        listen_fd = listener.detach()
    plan = wiring.plan(settings, where, keys, listen_fd, loopback)
    page = wiring.sign_in_link(url, keys) if url and plan.api.ui != "off" and _at_a_terminal() else ""
    apis = ["api"] * settings.api_workers if settings.role != "engine" else []
    engines = ["engine"] if settings.role != "api" else []
    return supervisor.Orders(
        roles=[*apis, *engines],
        command=supervisor.python_module("tasks_server.child"),
        plan=msgspec.Raw(msgspec.json.encode(plan)),
        banner=_banner(settings, where, url, first, page),
        listen_fd=listen_fd,
        grace_seconds=settings.grace_seconds,
        hung_seconds=settings.hung_seconds,
        log_level=plan.log.level,
        log_format=plan.log.form,
        colored=plan.log.colored,
    )


def _at_a_terminal() -> bool:
    """Whether people read what is printed; a link that signs in belongs in no log."""
    return sys.stdout is not None and sys.stdout.isatty()


def _banner(settings: Settings, where: Places, url: str, first: list[str], page: str) -> str:
    lines = [f"Tasks Server {__version__} is ready.", ""]
    if url:
        docs = f"   (to read and try: {url}/docs)" if settings.swagger_ui else ""
        lines.append(f"  API       {url}{docs}")
    if page:
        lines.append(f"  Dashboard {page}   (opens it once, within ten minutes; `tasks-server ui` prints another)")
    lines.append(f"  Database  {where.shown}")
    if where.key_file:
        lines.append(f"  Key file  {where.key_file}   (keep a copy: what is stored cannot be read without it)")
    if settings.handlers and settings.role != "api":
        lines.append(f"  Handlers  {', '.join(settings.handler_modules)}")
    return "\n".join([*lines, *first, ""]) + "\n"


def _first_owner(resolved: Resolved, where: Places, config: Path | None) -> list[str]:
    """How to make the first owner: a command that works in any other shell that sets the variables it names."""
    named = config or os.environ.get(CONFIG_ENV)
    command = next_command(
        *("owner", "create", "NAME"),
        config=Path(named).absolute() if named else None,
        data_dir=where.data_dir if resolved.settings.data_dir else None,
    )
    found_by = {resolved.origins[name] for name in _FINDING}
    variables = ", ".join(sorted(origin for origin in found_by if origin in os.environ))
    shell = f"another shell that has the {variables} of this one" if variables else "another shell"
    return ["", f"Register the first owner in {shell}:", f"  {command}"]
