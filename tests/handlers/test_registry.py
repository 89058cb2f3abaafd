"""Registering handlers: what is taken, what is refused and how, and that importing it costs nothing."""

import asyncio
import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import tasks_server
from tasks_server import Context, handlers
from tasks_server.handlers.registry import Registration, registered


@pytest.fixture(autouse=True)
def _a_register_of_its_own() -> Iterator[None]:
    before = dict(registered)
    registered.clear()
    yield
    registered.clear()
    registered.update(before)


def test_the_function_stays_as_it_is() -> None:
    @handlers.register("twice")
    def twice(payload: int) -> int:
        return payload * 2

    assert twice(4) == 8
    assert registered["twice"].function is twice


def test_options_are_kept_in_ms() -> None:
    @handlers.register("send", timeout=1.5, max_retries=0, retry_delay=2, concurrency=7)
    async def send(payload: object) -> None: ...

    known = registered["send"]
    assert (known.timeout_ms, known.retries_max, known.retry_interval_ms, known.backoff, known.concurrency_max) == (
        1_500, 0, 2_000, None, 7,
    )  # fmt: skip
    assert known.coroutine


def test_how_the_wait_grows_is_said_in_any_case() -> None:
    shouted: Any = "Linear"

    @handlers.register("send", backoff=shouted)
    async def send(payload: object) -> None: ...

    assert registered["send"].backoff == "linear"


def shape(function: Any) -> tuple[str | None, str | None]:
    known: Registration = _registered(function)
    return (known.payload.name if known.payload else None, known.context)


def _registered(function: Any) -> Registration:
    registered.clear()
    handlers.register("one")(function)
    return registered["one"]


def test_parameters_are_known_by_annotation_and_place() -> None:
    def both(payload: int, context: Context) -> None: ...
    def other_names(order: int, task: Context) -> None: ...
    def context_first(task: Context, order: int) -> None: ...
    def as_text(order: "int", task: "tasks_server.Context") -> None: ...
    def by_keyword(order: int, *, context: Context) -> None: ...
    def bare(order, context) -> None: ...  # type: ignore[no-untyped-def]  # on purpose
    def nothing() -> None: ...
    def context_alone(context: Context) -> None: ...
    def more(order: int, flag: bool = False, *rest: int, **named: int) -> None: ...

    assert shape(both) == ("payload", "context")
    assert shape(other_names) == shape(context_first) == shape(as_text) == ("order", "task")
    assert shape(by_keyword) == shape(bare) == ("order", "context")
    assert shape(nothing) == (None, None)
    assert shape(context_alone) == (None, "context")
    assert shape(more) == ("order", None)


def test_callables_of_many_kinds() -> None:
    class Caller:
        async def __call__(self, payload: int) -> None: ...

        def method(self, payload: int) -> None: ...

    async def coroutine(extra: int, payload: int) -> None: ...

    assert _registered(Caller()).coroutine
    assert shape(Caller()) == ("payload", None)
    assert not _registered(Caller().method).coroutine
    assert _registered(functools.partial(coroutine, 1)).coroutine
    assert shape(functools.partial(coroutine, 1)) == ("payload", None)
    asyncio.run(registered["one"].function(2))


def _generator(payload: int) -> Iterator[int]:
    yield 1


async def _async_generator(payload: int) -> AsyncIterator[int]:
    yield 1


def _greedy(payload: int, other: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (7, "must be a function, not 7"),
        (int, "must be a function"),
        (_generator, "must not be a generator"),
        (_async_generator, "must not be a generator"),
        (_greedy, "nothing can be given for its parameter 'other'"),
    ],
)
def test_what_cannot_be_called_is_refused(function: Any, words: str) -> None:
    with pytest.raises(TypeError, match="handler 'one': ") as caught:
        handlers.register("one")(function)
    assert words in str(caught.value)
    assert registered == {}


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a/b", "\u00e9", 7, None, "new\n"])
def test_malformed_names_are_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="a name is 1 to 64 characters of"):
        handlers.register(name)


def test_a_decorator_without_its_name_is_told_so() -> None:
    with pytest.raises(TypeError, match=r'takes the name of the handler, as in @handlers.register\("send-email"\)'):

        @handlers.register  # type: ignore[arg-type]  # what no checker lets pass
        def work(payload: Any) -> None: ...


@pytest.mark.parametrize("name", ["default", "curl"])
def test_built_in_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="taken by a handler that every worker has"):
        handlers.register(name)


def test_a_name_is_registered_once() -> None:
    @handlers.register("one")
    def one(payload: object) -> None: ...

    with pytest.raises(ValueError, match=r"handler 'one' is registered twice: at .*test_registry.py:\d+ and at"):

        @handlers.register("one")
        def two(payload: object) -> None: ...

    assert registered["one"].function is one


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 0}, "timeout must be 0.1 to 86400 seconds, not 0"),
        ({"timeout": "60"}, "timeout must be"),
        ({"timeout": True}, "timeout must be"),
        ({"timeout": float("nan")}, "timeout must be"),
        ({"max_retries": -1}, "max_retries must be a whole number from 0"),
        ({"max_retries": 1.5}, "max_retries must be"),
        ({"concurrency": 0}, "concurrency must be a whole number from 1"),
        ({"retry_delay": 0}, "retry_delay must be 0.001"),
        ({"backoff": "slow"}, "backoff must be one of fixed, linear, exponential, not 'slow'"),
    ],
)
def test_options_out_of_bounds_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="handler 'one': ") as caught:
        handlers.register("one", **options)
    assert words in str(caught.value)


def test_importing_it_brings_nothing_of_the_server() -> None:
    program = (
        "import sys; from tasks_server import handlers, Context, Retry, Permanent\n"
        "print([name for name in sys.modules if name.split('.')[0] in "
        "{'msgspec', 'apsw', 'pycurl', 'pydantic', 'starlette', 'uvloop', 'asyncio', 'psycopg', 'cryptography'}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_has_these_names_and_no_others() -> None:
    assert tasks_server.Retry is handlers.Retry
    assert tasks_server.Permanent is handlers.Permanent
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = tasks_server.Nothing
