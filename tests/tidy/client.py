"""The methods of the client beside the routes of the API, and the table of both for the documentation."""

import inspect
import re
import types
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from tasks_server.api.app import ApiConfig, App, create_app
from tasks_server.client import results
from tasks_server.client.bodies import camel
from tasks_server.client.groups import Group, Groups, Method, Pages
from tasks_server.client.protocol import Request, Route
from tasks_server.clock import ManualClock
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore
from tasks_server.telemetry import Telemetry

COMPOSED = {
    "tasks.wait": "`GET /v1/queues/{id}` until the task is over",
    "bulk.wait": "`GET /v1/bulk/{id}` until it has ended",
}
"""Methods that are made of others."""
SECOND = {"bulk.dry_run", "handler_tasks.create_recurring", "owners.suspend", "owners.resume"}
"""Methods that ask for a route which another one asks for, too."""
NOT_A_METHOD = {
    "GET /openapi.json": "for those who write clients",
    "GET /livez": "the same as /status, under the name that Kubernetes gives it",
    "GET /readyz": "for load balancers, which send no other request before",
}
"""Routes that no method asks for, and why."""
EXTRAS: dict[str, dict[str, Any]] = {"tasks.register": {"url": "https://target.test/"}}
"""What a method takes beside the parameters that it requires by name."""
SAMPLES: dict[str, Any] = {
    "action": "retry",
    "tasks": [{"url": "https://target.test/"}],
    "enabled": True,
    "tasks_in_queue_limit": 5,
}
"""Values of the required parameters that are no text."""


def groups() -> dict[str, type[Group[Any]]]:
    """The groups by the name that a client has them under."""
    found = {}
    for name, hint in get_type_hints(Groups).items():
        kind = get_origin(hint) or hint
        assert issubclass(kind, Group)
        found[name] = kind
    return found


def methods() -> dict[str, Method[..., Any] | Pages[..., Any]]:
    """Every method, as `tasks.register`."""
    return {
        f"{group}.{name}": method
        for group, kind in groups().items()
        for name, method in vars(kind).items()
        if isinstance(method, Method | Pages)
    }


@cache
def requests() -> dict[str, Request[Any]]:
    """What each method sends when it is asked with samples."""
    return {name: _request(name, method) for name, method in methods().items() if name not in COMPOSED}


def _request(name: str, method: Method[..., Any] | Pages[..., Any]) -> Request[Any]:
    wanted = [
        parameter.name
        for parameter in inspect.signature(method.build).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    sample = {each: SAMPLES.get(each, "a-sample") for each in wanted}
    made = method.build(**sample, **EXTRAS.get(name, {}))
    assert isinstance(made, Request), f"{name} makes no request: is it composed?"
    return made


def taken(name: str) -> set[str]:
    """The parameters of a method beside what stands in the path, by their names on the wire; those of a typed
    dictionary in its place.
    """
    build = methods()[name].build
    found: set[str] = set()
    for parameter in inspect.signature(build).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            (wanted,) = get_args(get_type_hints(build)[parameter.name])
            found |= set(wanted.__annotations__)
        else:
            found.add(parameter.name)
    in_path = re.findall(r"{(\w+)}", requests()[name].route.path)
    if requests()[name].route.path.startswith("/v1/"):
        found = {camel(each) for each in found}
    return found - {"pageSize", "page_size", "idempotency_key", *in_path}


def routes() -> dict[str, Any]:
    """Every route of the API that is no page for people, as `GET /v1/queues`."""
    return {f"{route.method} {route.path}": route for route in _app().table if not route.hidden}


@cache
def _app() -> App:
    clock = ManualClock()
    store = SqliteStore(None, Sealer(bytes(32)), clock)  # never opened: only the table is looked at
    return create_app(store, clock=clock, telemetry=Telemetry(clock), config=ApiConfig())


def named(route: Route[Any]) -> str:
    return f"{route.method} {route.path}"


def fields(kind: Any) -> Any:
    """The fields of an answer's type by their names on the wire, down to plain values."""
    if get_origin(kind) not in (None, Literal):
        return [fields(part) for part in get_args(kind) if part not in (type(None), msgspec.UnsetType)]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {field.encode_name: fields(field.type) for field in msgspec.structs.fields(kind)}
    return None


def client_table() -> str:
    """Every method of the client with the route it asks for, and what it gives."""
    lines = ["| method | asks for | answer | gives |", "|---|---|---|---|"]
    asked = requests()
    for name, method in methods().items():
        route = f"`{named(asked[name].route)}`" if name in asked else COMPOSED[name]
        text = inspect.getdoc(method.build) or ""
        answer = type_text(_answer_of(name, method))
        lines.append(f"| `{name}` | {route} | {answer} | {' '.join(text.split())} |")
    return "\n".join(lines)


def _answer_of(name: str, method: Method[..., Any] | Pages[..., Any]) -> Any:
    """The type that the client's method gives, or lets one await; lists are gone through."""
    if name in COMPOSED:
        return get_args(get_type_hints(method.build)["return"])[0]
    return requests()[name].route.answer


def type_text(kind: Any) -> str:
    """A type for readers: `Task`, `list of Task`, `str or None`."""
    if kind is type(None):
        return "None"
    if isinstance(kind, types.UnionType) or get_origin(kind) is Union:
        return " or ".join(type_text(part) for part in get_args(kind))
    if get_origin(kind) is list:
        return f"list of {type_text(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return "dict"
    if get_origin(kind) is Literal:
        return "str"
    return f"`{kind.__name__}`" if hasattr(kind, "__name__") else "any"


def results_table() -> str:
    """Every type of an answer with its fields and theirs."""
    lines = ["| type | fields | |", "|---|---|---|"]
    for name in results.__all__:
        kind = getattr(results, name)
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)) or name == "Result":
            continue
        hints = get_type_hints(kind)
        told = ", ".join(f"`{field}` {type_text(hints[field]).replace('`', '')}" for field in kind.__struct_fields__)
        lines.append(f"| `{name}` | {told} | {' '.join((inspect.getdoc(kind) or '').split())} |")
    return "\n".join(lines)
