"""Payloads become what annotations ask for, or are refused with the field that is wrong; results become JSON."""

import datetime
import decimal
import enum
import functools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from tasks_server import Context
from tasks_server.handlers.payloads import Unfit, reader
from tasks_server.handlers.registry import register, registered
from tasks_server.handlers.results import NotKept, result_json


class Line(msgspec.Struct):
    sku: str
    count: int = 1


class Order(msgspec.Struct):
    to: str
    lines: list[Line]


@dataclass
class Rate:
    each: float


@dataclass
class Mail:
    to: str
    copies: list[str] = field(default_factory=list)


class Typed(TypedDict):
    to: str
    when: NotRequired[datetime.datetime]


class Person(pydantic.BaseModel):
    name: str
    age: Annotated[int, pydantic.Field(ge=18)]
    born: datetime.date | None = None


class Color(enum.Enum):
    RED = "red"


class Positive(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError("n must not be negative")


def read(function: Callable[..., Any], payload: Any) -> Any:
    registered.pop("x", None)
    register("x")(function)
    try:
        made = reader(registered["x"])
    finally:
        del registered["x"]
    return None if made is None else made(msgspec.json.encode(payload))


def taking(annotation: Any) -> Callable[..., Any]:
    def function(payload: Any) -> None: ...

    function.__annotations__["payload"] = annotation
    return function


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("annotation", "payload", "expected"),
    [
        (Order, {"to": "a", "lines": [{"sku": "s"}]}, Order("a", [Line("s", 1)])),
        (Mail, {"to": "a", "copies": ["b"]}, Mail("a", ["b"])),
        (Typed, {"to": "a"}, {"to": "a"}),
        (Typed, {"to": "a", "when": "2026-01-02T03:04:05Z"},
         {"to": "a", "when": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)}),
        (Person, {"name": "a", "age": 20, "born": "2000-01-02"},
         Person(name="a", age=20, born=datetime.date(2000, 1, 2))),
        (list[Person], [{"name": "a", "age": 20}], [Person(name="a", age=20)]),
        (int, 7, 7), (float, 7, 7.0), (str, "a", "a"), (bool, True, True), (None, None, None),
        (list[int], [1, 2], [1, 2]), (dict[str, int], {"a": 1}, {"a": 1}), (dict[int, str], {"1": "a"}, {1: "a"}),
        (tuple[int, str], [1, "a"], (1, "a")), (set[int], [1, 1], {1}), (int | None, None, None),
        (bytes, "aGk=", b"hi"), (uuid.UUID, str(UUID), UUID), (decimal.Decimal, "1.20", decimal.Decimal("1.20")),
        (Literal["a", "b"], "b", "b"), (Color, "red", Color.RED), (dict, {"a": [1]}, {"a": [1]}),
        (Annotated[int, msgspec.Meta(ge=1)], 1, 1), (Any, {"a": [None]}, {"a": [None]}),
    ],
)  # fmt: skip
def test_it_becomes_what_is_asked_for(annotation: Any, payload: Any, expected: Any) -> None:
    given = read(taking(annotation), payload)
    assert given == expected
    assert type(given) is type(expected)


def test_without_an_annotation_it_stays_what_it_is() -> None:
    assert read(lambda payload: None, {"a": [1, None, "x"]}) == {"a": [1, None, "x"]}


def test_numbers_beyond_pythons_own_are_read() -> None:
    def take(payload): ...  # type: ignore[no-untyped-def]  # what has no annotation is the point

    def take_raw(payload: msgspec.Raw) -> None: ...

    registered.clear()
    register("any")(take)
    register("raw")(take_raw)
    read_any, read_raw = reader(registered["any"]), reader(registered["raw"])
    registered.clear()
    assert read_any is not None
    assert read_raw is not None
    text = b'{"n": 1e400, "long":123456789012345678901234567890, "n2" : 0.5}'
    assert read_any(text) == {"n": Decimal("1e400"), "long": 123456789012345678901234567890, "n2": 0.5}
    assert bytes(read_raw(text)) == text


def test_a_handler_may_take_none() -> None:
    def bare(context: Context) -> None: ...

    assert read(bare, {"ignored": 1}) is None


@pytest.mark.parametrize(
    ("annotation", "payload", "told"),
    [
        (Order, {"to": "a", "lines": [{"sku": "s"}, {"sku": 7}]}, "payload.lines[1].sku: Expected `str`, got `int`"),
        (Order, {"lines": []}, "payload: Object missing required field `to`"),
        (Order, None, "payload: Expected `object`, got `null`"),
        (Mail, {"to": "a", "copies": "b"}, "payload.copies: Expected `array`, got `str`"),
        (Typed, {"to": "a", "when": "soon"}, "payload.when: Invalid RFC3339 encoded datetime"),
        (int, "7", "payload: Expected `int`, got `str`"),
        (dict[str, int], {"a": "b"}, "payload[...]: Expected `int`, got `str`"),
        (Positive, {"n": -1}, "payload: n must not be negative"),
        (Annotated[int, msgspec.Meta(ge=1)], 0, "payload: Expected `int` >= 1"),
        (Person, {"age": 3}, "payload.name: Field required; payload.age: Input should be greater than or equal to 18"),
        (list[Person], [{"name": "a"}], "payload[0]: age: Field required"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_field(annotation: Any, payload: Any, told: str) -> None:
    with pytest.raises(Unfit) as caught:
        read(taking(annotation), payload)
    assert str(caught.value).startswith(told)


class Strange:
    pass


def test_annotations_that_no_json_fits_are_refused_at_the_start() -> None:
    with pytest.raises(TypeError, match=r"handler 'x': its payload cannot be read into .*Strange"):
        read(taking(Strange), 1)
    with pytest.raises(TypeError, match=r"handler 'x': the annotation of its payload is unknown: .*'Later'"):
        read(taking("Later"), 1)


def test_annotations_may_be_text() -> None:
    def function(payload: "Order", context: "Context") -> None: ...

    assert read(function, {"to": "a", "lines": []}) == Order("a", [])


def test_only_the_payload_is_looked_up() -> None:
    def function(payload: "list[Order]", context: "Context") -> "OnlyForTheTypeChecker": ...  # type: ignore[name-defined]  # noqa: F821  # so it is

    assert read(function, []) == []


def test_callables_are_looked_into() -> None:
    class Caller:
        def __call__(self, payload: int) -> None: ...

    def two(first: str, payload: int) -> None: ...

    for function in (Caller(), functools.partial(two, "a")):
        assert read(function, 7) == 7
        with pytest.raises(Unfit):
            read(function, "seven")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), ([msgspec.Raw(b"1"), None], b"[1,null]"),
        ([None, 1.5, "null"], b'[null,1.5,"null"]'),
        (False, b"false"), (0, b"0"), ({"a": [1]}, b'{"a":[1]}'), (Mail("a"), b'{"to":"a","copies":[]}'),
        (Order("a", []), b'{"to":"a","lines":[]}'), (datetime.date(2026, 1, 2), b'"2026-01-02"'),
        (UUID, f'"{UUID}"'.encode()),
        (Person(name="a", age=20), b'{"name":"a","age":20,"born":null}'), ({1}, b"[1]"), (b"hi", b'"aGk="'),
        ([Person(name="a", age=20)], b'[{"name":"a","age":20,"born":null}]'),
    ],
)  # fmt: skip
def test_results_become_json(value: Any, expected: bytes | None) -> None:
    assert result_json(value, 1_000) == expected


def test_results_that_cannot_be_kept() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in (
        Strange(),
        {"a": [Strange()]},
        loop,
        "\ud800",
        float("nan"),
        {"a": [1.5, float("-inf")]},
        Rate(float("nan")),
    ):
        with pytest.raises(NotKept, match="the result is not kept: it is no JSON"):
            result_json(value, 1_000)
    with pytest.raises(NotKept, match="the result is not kept: it has 12 bytes, 11 are kept at most"):
        result_json("x" * 10, 11)
    assert result_json("x" * 10, 12) == b'"xxxxxxxxxx"'
