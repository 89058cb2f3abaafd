"""The client knows all of the API: each route, each field of each answer, each option of a task."""

from typing import Any, get_type_hints

import msgspec
import pytest

from tasks_server.api.bulk_wire import BulkFilterBody
from tasks_server.api.openapi import bodies_of
from tasks_server.client.bodies import camel
from tasks_server.client.groups import Pages
from tasks_server.client.options import BulkFilter, Config, HttpRequest, ScheduleFields, TaskFields
from tasks_server.domain.asked import AskedRequest
from tasks_server.domain.request import TaskConfig
from tasks_server.domain.schedule_reading import ScheduleBody
from tests.tidy.client import COMPOSED, NOT_A_METHOD, SECOND, fields, methods, named, requests, routes, taken


def test_every_route_has_a_method() -> None:
    asked = {named(request.route) for request in requests().values()}
    assert set(routes()) - asked - set(NOT_A_METHOD) == set()
    assert asked - set(routes()) == set(), "these routes are not there"
    assert set(NOT_A_METHOD) - set(routes()) == set()
    assert set(COMPOSED) - set(methods()) == set()


def test_every_route_has_one_method() -> None:
    asked = [named(request.route) for name, request in requests().items() if name not in SECOND]
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("name", requests())
def test_answers_have_the_fields_of_the_api(name: str) -> None:
    route = requests()[name].route
    served: Any = [success.body for success in routes()[named(route)].success]
    if route.answer is type(None):  # `{"status": "Done"}`, or nothing
        assert served[0] is None or set(fields(served[0])) == {"status"}
    elif route.answer is str:
        assert served == [None]
    else:
        assert fields(route.answer) in [fields(body) for body in served]


@pytest.mark.parametrize("name", [name for name, method in methods().items() if isinstance(method, Pages)])
def test_lists_filter_by_all_that_the_api_filters_by(name: str) -> None:
    route = routes()[named(requests()[name].route)]
    known = {parameter.name for parameter in route.query} - {"limit", "offset", "cursor"}
    assert taken(name) == known | ({route.query_prefix.removesuffix(".")} if route.query_prefix else set())


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, method in methods().items()
        if name.split(".")[0] in ("owners", "lanes") and name not in SECOND and not isinstance(method, Pages)
    ],
)
def test_bodies_have_the_fields_of_the_api(name: str) -> None:
    (body,) = bodies_of(routes()[named(requests()[name].route)]) or [None]
    assert taken(name) == (set(fields(body)) if body is not None else set())


def test_every_method_says_what_it_gives() -> None:
    assert [name for name, method in methods().items() if not (method.build.__doc__ or "").strip().endswith(".")] == []


@pytest.mark.parametrize(
    ("offered", "taken"),
    [(HttpRequest, AskedRequest), (Config, TaskConfig)],
    ids=["httpRequest", "config"],
)
def test_options_are_those_of_the_api(offered: Any, taken: type[msgspec.Struct]) -> None:
    assert set(offered.__annotations__) == {field.encode_name for field in msgspec.structs.fields(taken)}


def test_schedules_are_those_of_the_api() -> None:
    offered = {camel(name) for name in ScheduleFields.__annotations__}
    assert offered | {"name"} == {field.encode_name for field in msgspec.structs.fields(ScheduleBody)}


def test_handlers_take_what_the_api_takes() -> None:
    once, again = bodies_of(routes()["POST /tasks"])
    assert taken("handler_tasks.create") == set(fields(once)) - {"type"}
    assert taken("handler_tasks.create_recurring") == set(fields(again)) - {"type"}


def test_filters_of_bulk_work_are_those_of_the_api() -> None:
    offered = {camel(name) for name in BulkFilter.__annotations__}
    assert offered == {field.encode_name for field in msgspec.structs.fields(BulkFilterBody)}


def test_every_short_form_is_an_option() -> None:
    """No name of `TaskFields` is a leftover: each is a part of the request or of the configuration, or named here."""
    whole = {"http_request", "handler", "payload", "config", "metadata", "delay", "at"}
    known = set(HttpRequest.__annotations__) | set(Config.__annotations__)
    assert {camel(name) for name in set(get_type_hints(TaskFields)) - whole} <= known
