"""The command `tasks-server`: its groups of commands, and what becomes of errors."""

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from tasks_server.cli import (
    audit,
    bulks,
    callbacks,
    copying,
    databases,
    docs,
    keys,
    lanes,
    logs,
    nodes,
    options,
    output,
    owner_keys,
    owners,
    rights,
    schedules,
    serve,
    settings,
    signing,
    tasks,
    ui,
    worker,
)
from tasks_server.domain.errors import TasksServerError, Unavailable

app = typer.Typer(
    name="tasks-server",
    help="A self-hosted task service: POST a task, it is stored durably and executed on time, with retries.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("settings")(settings.show)
app.command("ui")(ui.ui)
app.command("docs")(docs.docs)
owners.app.add_typer(signing.app, name="signing", help="How the calls of an owner are signed.")
owners.app.add_typer(callbacks.app, name="callback", help="What is called when tasks of an owner have ended.")
owners.app.add_typer(owner_keys.app, name="key", help="The keys of an owner.")
app.add_typer(owners.app, name="owner", help="Who may submit tasks.")
databases.app.command("copy")(copying.copy)
app.add_typer(databases.app, name="db", help="The schema of the database, and moving to another one.")
app.command("nodes")(nodes.nodes)
app.add_typer(keys.app, name="keys", help="The cipher keys of the database.")
app.add_typer(tasks.app, name="task", help="Submit tasks, look at them, steer them.")
app.command("logs")(logs.logs)
app.command("audit")(audit.audit)
app.add_typer(bulks.app, name="bulk", help="One action on many tasks.")
app.add_typer(schedules.app, name="schedule", help="Recurring rules that make tasks.")
app.add_typer(lanes.app, name="lane", help="Lines of tasks with a rate, a concurrency and a pause of their own.")


def _version(wanted: bool) -> None:
    if wanted:
        from tasks_server import __version__

        typer.echo(f"tasks-server {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """Runs the command of this process; ends it with a status of `exit_codes`."""
    os.umask(0o077)  # what is stored is nobody else's business; the server's processes inherit this
    try:
        options.check_text(sys.argv[1:])
        app()
    except TasksServerError as error:
        sys.exit(output.complain(error, rights.denied(error)))
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        sys.exit(output.complain(_told(error), rights.denied(error)))


def _told(error: Exception) -> TasksServerError:
    """One line for what nobody expected: what the system says of a file, or else where the fault is."""
    if isinstance(error, OSError) and error.filename is not None:
        return Unavailable(f"{os.fsdecode(error.filename)}: {error.strerror}")
    *_, last = traceback.extract_tb(error.__traceback__)
    where = f"{Path(last.filename).name}:{last.lineno}"
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    return Unavailable(f"a fault of Tasks Server, at {where}: {said}; PYTHONDEVMODE=1 shows all of it, to report it")
