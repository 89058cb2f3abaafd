"""How the command line prints: tables and sentences for people, JSON for machines, errors with what to do next."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from typing import Annotated, Any

import msgspec
import typer

from tasks_server import exit_codes
from tasks_server.api.states import state_word
from tasks_server.domain import masking
from tasks_server.domain.attempt import Redirected
from tasks_server.domain.errors import InvalidRequest, Refused, TasksServerError
from tasks_server.domain.task import NewTask, Task

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def as_json(value: Any) -> None:
    """Prints `value` as JSON on the standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def say(text: str) -> None:
    """Prints a line for people."""
    sys.stdout.write(text + "\n")


def confirm(question: str) -> None:
    """Asks somebody at a terminal. Raises `Refused` when the answer is no, or when nobody can answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(f"{question} Say so by --yes: nobody can be asked here")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("nothing was done")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows below their headings. Text is shown as it is: no markup, no control characters."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(soft_wrap=False)
    if not console.is_terminal:
        console.width = 200  # a file or a pipe has no width; do not fold what a script reads
    console.print(grid)


def printable(text: str) -> str:
    """The text without characters that could move the cursor or hide something."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def instant(at: int, zone: tzinfo, *, exact: bool = False) -> str:
    """An instant for people, to the second or, `exact`, the millisecond; `-` for "not yet"."""
    timespec = "milliseconds" if exact else "seconds"
    return datetime.fromtimestamp(at / 1_000, zone).isoformat(sep=" ", timespec=timespec) if at else "-"


def warn(text: str) -> None:
    """Prints a warning on the error output."""
    sys.stderr.write(f"tasks-server: warning: {text}\n")


def warn_of(things: Iterable[tuple[str, str | None]]) -> None:
    """Warns of those, by their ids, of which something is told: that they cannot be read."""
    for name, told in things:
        if told is not None:
            warn(f"{name}: {printable(told)}")


def complain(error: TasksServerError, advice: str | None = None) -> int:
    """Prints why a command failed, and what to do. The exit status that goes with it."""
    message = error.message if advice is None else f"{error.message}. {advice}"
    if "--json" in sys.argv[1:]:
        told: dict[str, Any] = {"code": error.code, "message": message}
        if isinstance(error, InvalidRequest):
            told["errors"] = error.faults
        sys.stderr.write(msgspec.json.encode({"error": told}).decode() + "\n")
    elif isinstance(error, InvalidRequest):
        for fault in error.faults:
            allowed = f"; allowed: {fault.allowed}" if fault.allowed is not None else ""
            given = f"; given: {fault.given!r}" if fault.given is not None else ""
            sys.stderr.write(f"tasks-server: {fault.field}: {fault.message}{given}{allowed}\n")
    else:
        sys.stderr.write(f"tasks-server: {message}\n")
    return exit_codes.of(error)


def redirected_text(redirected: Redirected | None) -> str:
    """Where redirects led, in a few words; nothing where none was followed."""
    if redirected is None:
        return ""
    times = "once" if redirected.count == 1 else f"{redirected.count} times"
    changed = ", without the data" if redirected.method_changed else ""
    return f"redirected {times}, to {redirected.method} {redirected.url}{changed}"


def task_fields(task: Task | NewTask) -> dict[str, Any]:
    """A task for machines: `state` in the words of the API, `phase` tells what it sums up as RUNNING."""
    fields = ("id", "owner", "lane", "priority", "created_at", "due_at")
    more = ("execution_at", "ended_at", "attempt", "failures", "repeats", "status_code", "error")
    shown: dict[str, Any] = {"state": state_word(task), "phase": task.state.value}
    shown = {name: getattr(task, name) for name in fields} | shown
    shown["metadata"] = masking.shown_entries(task.metadata)
    if isinstance(task, Task):
        shown |= {name: getattr(task, name) for name in more}
        if task.unreadable is not None:
            shown["unreadable"] = task.unreadable
    return shown
