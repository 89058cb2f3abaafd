"""The parts of the documentation that are made from the code. `python -m tests.tidy.documents` writes them into the
files; `test_documents.py` fails when a file says something else.

A made part stands between `<!-- made: NAME -->` and `<!-- end -->`; the rest of a file is written by hand.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import typer.main
from pydantic_core import PydanticUndefined

from tasks_server import exit_codes
from tasks_server.api.problems import CODES
from tasks_server.cli.main import app
from tasks_server.domain.errors import TasksServerError
from tasks_server.domain.gate import KINDS
from tasks_server.domain.lifecycle import TRANSITIONS, EventKind
from tasks_server.domain.task import FINAL, State
from tasks_server.service.timeline import MEANINGS
from tasks_server.settings.table import ENV_PREFIX, PLANNED, SHORT_NAMES, Settings, extra, is_secret
from tests.tidy.client import client_table, results_table
from tests.tidy.options import options_table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def settings_table() -> str:
    """Every setting: its names, what it takes, its default, what it does."""
    lines = ["| environment | in the file | takes | default | meaning |", "|---|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        names = [f"`{ENV_PREFIX}{name.upper()}`"]
        if name in SHORT_NAMES:
            names.insert(0, f"`{name.upper()}`")
        default = "" if field.default in (None, PydanticUndefined) else f"`{_plain(field.default)}`"
        secret = " Secret: never shown." if is_secret(name) else ""
        secret += " Read anew on SIGHUP." if extra(name, "live") else ""
        lines.append(f"| {'<br>'.join(names)} | `{name}` | {_takes(name)} | {default} | {field.description}{secret} |")
    return "\n".join(lines)


def _plain(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _takes(name: str) -> str:
    schema = Settings.model_json_schema()["properties"][name]
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    option = options[0]
    if "enum" in option:
        return ", ".join(f"`{choice}`" for choice in option["enum"])
    kind = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "string": "text"}
    said = "path" if option.get("format") == "path" else kind[option["type"]]
    if "maximum" in option:
        said += f", {_plain(option['minimum'])} to {_plain(option['maximum'])}"
    unit = extra(name, "unit")
    return f"{said}, in {unit}" if unit else said


def planned_table() -> str:
    """Names of the contract that have no effect yet."""
    lines = ["| name | when it is set |", "|---|---|"]
    for name, refused in PLANNED.items():
        what = "the server refuses to start" if refused else "a warning; the server starts"
        lines.append(f"| `{name}` | {what} |")
    return "\n".join(lines)


def errors_table() -> str:
    """Every code of the API with its status and meaning."""
    lines = ["| code | status | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {code.status} | {code.meaning} |" for name, code in CODES.items()]
    return "\n".join(lines)


def error_classes_table() -> str:
    """Every class of error, with the code it has when nothing more precise is said, and the exit status of the CLI."""
    lines = ["| error | code | exit status |", "|---|---|---|"]
    for kind in subclasses(TasksServerError):
        lines.append(f"| {kind.__name__} | `{kind.code}` | {exit_codes.of(kind.__new__(kind))} |")
    return "\n".join(lines)


def subclasses(kind: type[TasksServerError]) -> list[type[TasksServerError]]:
    """All errors of the product below `kind`, depth first. Those of one adapter say more to it alone."""
    found = []
    for below in kind.__subclasses__():
        if below.__module__.startswith("tasks_server.") and not below.__module__.startswith("tasks_server.store."):
            found += [below, *subclasses(below)]
    return found


def transitions_table() -> str:
    """The state machine: which event leads from which state to which."""
    events = [event for event in EventKind if any(key[1] is event for key in TRANSITIONS)]
    lines = [f"| from | {' | '.join(event.value for event in events)} |", "|---" * (len(events) + 1) + "|"]
    for state in State:
        cells = [", ".join(sorted(to.value for to in TRANSITIONS.get((state, event), ()))) for event in events]
        lines.append(f"| **{state.value}** | {' | '.join(cells)} |")
    return "\n".join(lines)


def transitions_diagram() -> str:
    """The same as a Mermaid diagram, one arrow for each pair of states."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (before, event), after in TRANSITIONS.items():
        for to in sorted(after):
            arrows.setdefault((before, to), []).append(event.value)
    lines = [
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> scheduled : submit",
        "    [*] --> available : submit, due now",
    ]
    order = list(State)
    for (before, to), names in sorted(arrows.items(), key=lambda item: [order.index(state) for state in item[0]]):
        lines.append(f"    {before.value} --> {to.value} : {', '.join(names)}")
    lines += [f"    {state.value} --> [*] : pruned" for state in order if state in FINAL]
    return "\n".join([*lines, "```"])


def commands() -> str:
    """Every command with its arguments and options."""
    root: Any = typer.main.get_command(app)
    parts: list[str] = []
    for name, command in _walk(root, "tasks-server"):
        usage = " ".join(_usage(parameter) for parameter in command.params if parameter.param_type_name == "argument")
        parts.append(f"### `{name}{' ' + usage if usage else ''}`\n\n{_first_line(command.help)}\n")
        rows = [
            f"| {', '.join(f'`{option}`' for option in parameter.opts)} | {parameter.help} |"
            for parameter in command.params
            if parameter.param_type_name == "option" and parameter.help
        ]
        if rows:
            parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts).rstrip()


def _usage(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _first_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _walk(command: Any, name: str) -> list[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        return [(name, command)]
    found = []
    for sub_name, sub in below.items():
        found += _walk(sub, f"{name} {sub_name}")
    return found


def gates_table() -> str:
    """Every gate, in the order in which they hold a task."""
    lines = ["| gate | it is closed when | what to do |", "|---|---|---|"]
    lines += [f"| `{name}` | {kind.meaning} | {kind.advice} |" for name, kind in KINDS.items()]
    return "\n".join(lines)


def exit_codes_table() -> str:
    """Every exit status, from the constants and the text below each."""
    source = Path(exit_codes.__file__).read_text()
    lines = ["| status | meaning |", "|---|---|"]
    for name, value, text in re.findall(r'^([A-Z]+): Final = (\d+)\n"""(.+?)"""', source, re.M | re.S):
        assert getattr(exit_codes, name) == int(value)
        lines.append(f"| {value} | {_first_line(text)} |")
    return "\n".join(lines)


def events_table() -> str:
    """Every event of a timeline, what it means and what says more."""
    lines = ["| event | meaning | with |", "|---|---|---|"]
    lines += [f"| `{event.value}` | {meaning} | {fields} |" for event, (meaning, fields) in MEANINGS.items()]
    return "\n".join(lines)


MADE: dict[str, dict[str, Callable[[], str]]] = {
    "docs/settings.md": {"settings": settings_table, "planned": planned_table},
    "docs/errors.md": {"codes": errors_table, "classes": error_classes_table},
    "docs/client.md": {"methods": client_table, "results": results_table},
    "docs/history.md": {"events": events_table},
    "docs/cli.md": {"commands": commands, "exit-codes": exit_codes_table},
    "docs/request-options.md": {
        "request": partial(options_table, "httpRequest"),
        "connection": partial(options_table, "config"),
    },
    "docs/explain.md": {"gates": gates_table},
    "docs/ARCHITECTURE.md": {"diagram": transitions_diagram, "transitions": transitions_table},
}


def made(path: str) -> str:
    """The file as it should be: its made parts made anew."""
    text = (ROOT / path).read_text()
    for name, make in MADE[path].items():
        pattern = re.compile(rf"(<!-- made: {name} -->\n).*?(<!-- end -->)", re.S)
        text, count = pattern.subn(lambda match, make=make: f"{match[1]}{make()}\n{match[2]}", text)
        assert count == 1, f"{path} has {count} places for {name}"
    return text


if __name__ == "__main__":
    for each in MADE:
        (ROOT / each).write_text(made(each))
        print(f"wrote {each}")
