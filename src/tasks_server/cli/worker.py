"""`tasks-server worker`: an engine by itself, with the handlers of users."""

from typing import Annotated

import typer

from tasks_server.cli.options import (
    Config,
    DataDir,
    HandlerCallsMax,
    HandlerIsolation,
    HandlerModules,
    HandlerProcesses,
    HandlersOnly,
)
from tasks_server.cli.serve import joined, start


def worker(
    handlers: HandlerModules = None,
    handlers_only: HandlersOnly = None,
    concurrency: Annotated[int | None, typer.Option(help="Tasks in execution at once.", show_default="1024")] = None,
    handler_processes: HandlerProcesses = None,
    handler_isolation: HandlerIsolation = None,
    handler_calls_max: HandlerCallsMax = None,
    grace_seconds: Annotated[
        float | None, typer.Option(help="How long a stop waits for what is running.", show_default="8")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, console or json.", show_default="auto")] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Execute tasks beside a server: HTTP tasks, and those that run handlers. Several workers share the work. `serve
    --handlers` is a server that runs them itself.
    """
    flags = {
        "role": "engine",
        "handlers": joined(handlers),
        "handlers_only": handlers_only,
        "worker_max_concurrent_tasks": concurrency,
        "handler_processes": handler_processes,
        "handler_isolation": handler_isolation,
        "handler_calls_max": handler_calls_max,
        "grace_seconds": grace_seconds,
        "log_level": log_level,
        "log_format": log_format,
        "data_dir": data_dir,
    }
    start(flags, config, beside_a_server=True)
