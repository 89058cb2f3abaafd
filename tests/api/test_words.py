"""Words of closed sets are taken in any case wherever one stands in a body or a query, and shown in one spelling.

All of them are found by walking the types and queries of the routes: a new one is tested by itself, and a body of a new
type must be named in `BODIES`.
"""

import copy
import itertools
import types
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import httpx
import msgspec
import pytest
import typer

from tasks_server.api import batch_reading, bulk_wire, lane_wire, owner_wire, schedule_wire, wire
from tasks_server.api.app import ApiConfig
from tasks_server.api.callback_wire import CallbacksPatch
from tasks_server.api.openapi import bodies_of
from tasks_server.api.routes import Route
from tasks_server.cli.main import app as command_line
from tasks_server.clock import ManualClock
from tasks_server.domain.handler_reading import HandlerRegistration
from tasks_server.domain.lane_reading import LaneBody
from tasks_server.domain.named_reading import NamedTask, RecurringTask, Rescheduling
from tasks_server.domain.schedule_reading import NamedScheduleBody, ScheduleBody
from tasks_server.domain.shapes import fields_of
from tasks_server.domain.validation import Registration
from tasks_server.domain.words import spelled
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore

from .conftest import Api

REQUEST = {"url": "https://target.test/", "method": "POST"}
SCHEDULE = {"cron": "@daily", "task": {"httpRequest": REQUEST}}
BODIES: dict[Any, tuple[Any, dict[str, Any]]] = {
    Registration: (Registration, {"httpRequest": REQUEST}),
    HandlerRegistration: (HandlerRegistration, {"handler": {"name": "a"}}),
    batch_reading.Batch: (batch_reading.Batch, {"tasks": [{"httpRequest": REQUEST}]}),
    wire.TaskPatch: (Registration, {}),
    owner_wire.OwnerRegistration: (owner_wire.OwnerRegistration, {}),
    owner_wire.OwnerPatch: (owner_wire.OwnerPatch, {}),
    wire.SigningPatch: (wire.SigningPatch, {}),
    wire.SigningRotation: (wire.SigningRotation, {}),
    ScheduleBody: (ScheduleBody, SCHEDULE),
    NamedScheduleBody: (NamedScheduleBody, SCHEDULE),
    schedule_wire.SchedulePatch: (ScheduleBody, {}),
    NamedTask: (NamedTask, {"task_name": "a"}),
    RecurringTask: (RecurringTask, {"task_name": "a", "schedule": "@daily", "type": "recurring"}),
    Rescheduling: (Rescheduling, {}),
    bulk_wire.BulkBody: (bulk_wire.BulkBody, {"action": "retry", "filter": {"states": ["ERROR"]}, "dryRun": True}),
    LaneBody: (LaneBody, {}),
    lane_wire.LanePatch: (LaneBody, {}),
    CallbacksPatch: (CallbacksPatch, {}),
}
"""Of each type of a body: the type that it is read as in the end, and a body to put words into."""
CALLBACK = {"url": "https://target.test/"}
FILLED_IN = {
    "proxy": {"host": "proxy.test"},
    **dict.fromkeys(("failureCallback", "successCallback", "failure_callback", "success_callback"), CALLBACK),
}
"""What else an object needs that has a word in it."""
VOLATILE = {"id", "name", "createdAt", "created_at", "updatedAt", "updated_at", "scheduled_at"}
Path = tuple[str | int, ...]
_clock = ManualClock()
ROUTES: list[Route] = list(Api(SqliteStore(None, Sealer(bytes(32)), _clock), _clock, ApiConfig()).app.table)
NAMED = [(route, kind) for route in ROUTES for kind in bodies_of(route)]
QUERIES = [(route, parameter) for route in ROUTES for parameter in route.query if "enum" in parameter.schema]
numbers = itertools.count()


def words_of(wanted: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every word of every closed set in a type, and where it stands."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        yield from words_of(arguments[0], path)
    elif origin in (Union, types.UnionType):
        for member in arguments:
            yield from words_of(member, path)
    elif origin is Literal:
        yield from ((path, word) for word in arguments if isinstance(word, str))
    elif origin is list:
        yield from words_of(arguments[0], (*path, 0))
    elif origin is dict:
        yield from words_of(arguments[1], (*path, "key"))
    elif isinstance(wanted, type) and issubclass(wanted, StrEnum):
        yield from ((path, member.value) for member in wanted)
    elif isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        for name, field in fields_of(wanted).items():
            yield from words_of(field.type, (*path, name))


def with_word(body: Any, path: Path, word: str) -> Any:
    """The body with a word at this place."""
    if not path:
        return word
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        return [with_word(body[0] if body else {}, rest, word)]
    inner = copy.deepcopy((body or {}).get(step)) or FILLED_IN.get(step)
    return {**(body or {}), step: with_word(inner, rest, word)}


def settled(value: Any) -> Any:
    """An answer without what is another in each."""
    if isinstance(value, dict):
        return {name: settled(item) for name, item in value.items() if name not in VOLATILE}
    return [settled(item) for item in value] if isinstance(value, list) else value


async def place(client: httpx.AsyncClient, route: Route) -> str:
    """The path of the route, with something of its own that it is about."""
    if route.path == "/v1/queues/{id}":
        made = await client.post(
            "/v1/queues/register", json={"httpRequest": REQUEST, "config": {"executionDelay": "1h"}}
        )
        return f"/v1/queues/{made.json()['id']}"
    if route.path == "/v1/schedules/{id}":
        name = f"nightly-{next(numbers)}"
        if route.method == "PATCH":
            await client.post("/v1/schedules", json={**SCHEDULE, "name": name})
        return f"/v1/schedules/{name}"
    if route.path == "/v1/lanes/{name}":
        path = f"/v1/lanes/lane-{next(numbers)}"
        if route.method == "PATCH":
            await client.put(path, json={})
        return path
    if route.path == "/v1/owners/{name}/callbacks":
        return "/v1/owners/small-shop/callbacks"
    assert "{" not in route.path, f"say what {route.path} is about"
    return route.path


async def ask(client: httpx.AsyncClient, route: Route, body: Any) -> tuple[int, Any]:
    """What the route makes of a body, as it is stored where that can be seen."""
    if (route.method, route.path) == ("POST", "/v1/schedules"):
        body = {**body, "name": f"nightly-{next(numbers)}"}
    path = await place(client, route)
    answer = await client.request(route.method, path, json=body)
    told = answer.json()
    if answer.is_success and path.startswith("/v1/queues"):
        one = told["tasks"][0]["id"] if "tasks" in told else told["id"]
        told = (await client.get(f"/v1/queues/{one}/config")).json()
    elif answer.is_success and path == "/tasks":
        shelf = "/v1/schedules" if body.get("type", "").lower() == "recurring" else "/tasks"
        told = (await client.get(f"{shelf}/{told['id']}")).json()
    elif not answer.is_success:
        told = {fault["field"]: fault["message"] for fault in told["errors"]}
    return answer.status_code, settled(told)


@pytest.mark.parametrize(("route", "kind"), NAMED, ids=[f"{r.method} {r.path} {k.__name__}" for r, k in NAMED])
async def test_words_in_bodies(api: Api, route: Route, kind: Any) -> None:
    wanted, body = BODIES[kind]
    client, _ = await api.owner()
    last = {path: word for path, word in words_of(wanted) if word != word.swapcase()}
    for path, word in last.items():
        status, told = await ask(client, route, with_word(body, path, word))
        assert (await ask(client, route, with_word(body, path, word.swapcase()))) == (status, told), (path, word)
        field = ".".join(map(str, path))
        assert status < 300 or field not in told or "one of" not in told[field], (path, word)


def test_every_word() -> None:
    for wanted, body in BODIES.values():
        for path, word in words_of(wanted):
            ours = with_word(body, path, word)
            for written in (word.upper(), word.lower(), word.title(), word.swapcase()):
                assert spelled(wanted, with_word(body, path, written)) == ours
            assert spelled(wanted, ours) == ours


def test_there_are_words_to_test() -> None:
    found = {path[-1] for wanted, _ in BODIES.values() for path, _ in words_of(wanted)}
    assert found >= {"method", "proto", "protocol", "transport", "retryBackoff", "missed", "overlap", "action", "type"}


@pytest.mark.parametrize(("route", "parameter"), QUERIES, ids=[f"{r.method} {r.path} {p.name}" for r, p in QUERIES])
async def test_words_in_queries(api: Api, route: Route, parameter: Any) -> None:
    client, _ = await api.owner()
    for body in ({"httpRequest": REQUEST}, {"handler": {"name": "a"}}):
        assert (await client.post("/v1/queues/register", json=body)).status_code == 201
    words = parameter.schema["enum"]
    several = [",".join(words)] if "commas" in parameter.description else []
    for text in [*words, *several]:
        as_it_is = await client.get(route.path, params={parameter.name: text})
        swapped = await client.get(route.path, params={parameter.name: text.swapcase()})
        assert (
            (swapped.status_code, swapped.content) == (as_it_is.status_code, as_it_is.content) == (200, swapped.content)
        )


def commands(app: typer.Typer) -> Iterator[Any]:
    """The functions behind the commands, those of all groups."""
    yield from (command.callback for command in app.registered_commands)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance)


def test_no_command_leaves_words_to_the_library_that_takes_options_apart() -> None:
    """It would mind their case, and fault them in words of its own."""
    found = list(commands(command_line))
    assert len(found) > 30
    for command in found:
        hints = get_type_hints(command, include_extras=True)
        assert not [name for name, hint in hints.items() if list(words_of(hint))], command
