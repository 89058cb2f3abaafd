"""The table of the options of a request, made from the structs, with the tests that saw each at a target."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from tasks_server.domain.asked import AskedRequest
from tasks_server.domain.reading import DATES
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.shapes import describe

ROOT = Path(__file__).parents[2]
OPTIONS: dict[str, type[msgspec.Struct]] = {"httpRequest": AskedRequest, "config": TaskConfig}
EFFECTIVE = TaskConfig().effective()


def told(wanted: Any) -> tuple[str, str, bool]:
    """What the table says of a field's type: its effect, the libcurl option, whether it is secret."""
    info = inspect.type_info(wanted)
    assert isinstance(info, inspect.Metadata), wanted
    known = info.extra or {}
    return (info.extra_json_schema or {}).get("description", ""), known.get("option", ""), known.get("secret", False)


@cache
def seen() -> dict[str, list[str]]:
    """The tests that carry the mark `option`, by the names in it."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.option":
                    for name in mark.args:
                        place = f"[{node.name}](../{path.relative_to(ROOT)})"
                        found.setdefault(ast.literal_eval(name), []).append(place)
    return found


def options_table(place: str) -> str:
    """Every field of `httpRequest` or `config`."""
    tests = seen()
    lines = ["| option | takes | default | what it does | libcurl | seen by |", "|---|---|---|---|---|---|"]
    for field in msgspec.structs.fields(OPTIONS[place]):
        meaning, becomes, secret = told(field.type)
        hidden = " Secret: masked wherever it is shown." if secret else ""
        name = field.encode_name
        takes = "a date" if name in DATES else describe(field.type).removesuffix(", or null").replace("|", "\\|")
        places = "<br>".join(tests.get(name, []))
        lines.append(f"| `{name}` | {takes} | {_default(field)} | {meaning}{hidden} | {becomes} | {places} |")
    return "\n".join(lines)


def _default(field: msgspec.structs.FieldInfo) -> str:
    """The default as JSON; nothing where that is null or says nothing."""
    if field.required:
        return "required"
    if field.default is msgspec.UNSET:
        value = getattr(EFFECTIVE, field.name, None)
        return "" if value is None else f"`{msgspec.json.encode(value).decode()}`"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return "" if value is None else f"`{msgspec.json.encode(value).decode()}`"
