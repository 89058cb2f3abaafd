"""A module of handlers that do what handlers should not, and of bystanders that end in the very same moment.

What is said and given here is no Unicode, has no end, or comes from objects whose methods raise. `hostile` does what
its payload names in `ACTS`, or what it describes (`perform`).
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from tasks_server import Context, Permanent, Retry, handlers

NAME = os.fsdecode(b"caf\xe9.txt")
"""A file name that is not UTF-8: it has half of a surrogate pair."""
LOGGER = logging.getLogger("hostile." + NAME)
LOG_BY_CONTEXT = "log_by_context"
ACTS: dict[str, Callable[[], Any]] = {}


def act(function: Callable[[], Any]) -> Callable[[], Any]:
    ACTS[function.__name__] = function
    return function


# Bystanders


class Gate:
    """What bystanders wait for."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.for_coroutines = asyncio.Event()
        self.for_threads = threading.Event()

    def open(self) -> None:
        self.for_threads.set()
        self.loop.call_soon_threadsafe(self.for_coroutines.set)


GATES: dict[int, Gate] = {}


@handlers.register("gate")
async def gate(payload: int) -> int:
    """Makes a gate, before anybody waits for it. Gives the process."""
    GATES[payload] = Gate()
    return os.getpid()


@handlers.register("bystander", concurrency=1_000)
async def bystander(payload: int) -> str:
    await GATES[payload].for_coroutines.wait()
    logging.getLogger("bystander").info("goes on")
    return f"result {payload}"


@handlers.register("bystander-sync", concurrency=1_000)
def bystander_sync(payload: int) -> str:
    GATES[payload].for_threads.wait()
    logging.getLogger("bystander").info("goes on")
    return f"result {payload}"


@handlers.register("hostile", concurrency=1_000)
async def hostile(payload: dict[str, Any], context: Context) -> Any:
    GATES[payload["gate"]].open()
    await asyncio.sleep(0)  # the bystanders are in line now, and end in this same turn of the loop
    return do(payload, context)


@handlers.register("hostile-sync", concurrency=1_000)
def hostile_sync(payload: dict[str, Any], context: Context) -> Any:
    GATES[payload["gate"]].open()
    return do(payload, context)


def do(payload: dict[str, Any], context: Context) -> Any:
    if payload.get("act") == LOG_BY_CONTEXT:
        return context.logger.error(NAME, extra={"trace": Unkind()})
    return ACTS[payload["act"]]() if "act" in payload else perform(payload["do"])


# Exceptions


class Mute(Exception):
    def __str__(self) -> str:
        return None  # noqa: PLE0307  # as where it was forgotten


class Loud(Exception):
    def __str__(self) -> str:
        raise ValueError(NAME)


class Leaving(Exception):
    def __str__(self) -> str:  # noqa: PLE0307  # it never returns
        sys.exit(7)


class Stopping(Exception):
    def __str__(self) -> str:
        raise handlers.Stopped


class Deep(Exception):
    def __str__(self) -> str:
        return str(self)


class Texts(str):
    """A text that can do nothing of what texts can."""

    __slots__ = ()

    def _fails(self, *_: Any) -> NoReturn:
        raise KeyError(NAME)

    __len__ = __getitem__ = __format__ = __add__ = __bool__ = __iter__ = __str__ = __repr__ = _fails
    isascii = encode = isprintable = _fails


class Subtle(Exception):
    def __str__(self) -> str:
        return Texts("subtle")


def nameless() -> type[Exception]:
    """A class whose name cannot be had; not found in this module by who looks for tests."""

    class Veiled(type):
        @property
        def __name__(cls) -> str:
            raise KeyError(NAME)

        __module__ = __name__

    class Nameless(Exception, metaclass=Veiled): ...

    return Nameless


class Closed(Exception):
    def __getattribute__(self, name: str) -> NoReturn:
        raise KeyError(name)


class Endless(Exception):
    @property
    def __cause__(self) -> BaseException:
        return Endless()


class Noted(Exception):
    @property
    def __notes__(self) -> list[str]:
        raise KeyError(NAME)


class Faceless(Exception):
    @property
    def __class__(self) -> type:
        raise KeyError(NAME)


class Bare(BaseException): ...


class BadRetry(Retry):
    def __init__(self, after: Any) -> None:
        self.after_seconds = after


class BadPermanent(Permanent):
    def __str__(self) -> str:
        raise SystemExit(3)


class Unkind:
    def __repr__(self) -> str:
        raise KeyError(NAME)

    def __bool__(self) -> bool:
        raise KeyError(NAME)

    def __eq__(self, other: object) -> bool:
        raise KeyError(NAME)

    def __lt__(self, other: object) -> bool:
        raise KeyError(NAME)

    __str__ = __repr__
    __ge__ = __le__ = __gt__ = __lt__
    __hash__ = None


ERRORS: dict[str, Callable[[], BaseException]] = {
    "file_name": lambda: ValueError(NAME),
    "mute": Mute,
    "loud": Loud,
    "leaving": Leaving,
    "stopping": Stopping,
    "deep": Deep,
    "subtle": Subtle,
    "nameless": lambda: nameless()(NAME),
    "closed": Closed,
    "endless": Endless,
    "noted": Noted,
    "faceless": Faceless,
    "bare": Bare,
    "nul": lambda: ValueError("a\0b"),
    "huge": lambda: ValueError("x" * 20_000_000),
    "unkind": lambda: KeyError(Unkind()),
    "unkind_arguments": lambda: ValueError(Unkind(), Unkind()),
    "permanent": lambda: Permanent(NAME),
    "bad_permanent": BadPermanent,
    "system_exit": lambda: SystemExit(NAME),
    "interrupt": KeyboardInterrupt,
    "generator_exit": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "stopped": handlers.Stopped,
    "stop_iteration": lambda: StopIteration(NAME),
    "memory": MemoryError,
    "group": lambda: BaseExceptionGroup(NAME, [Mute(), Bare(), SystemExit(NAME)]),
    "large_group": lambda: ExceptionGroup("many", [ValueError(NAME)] * 20_000),
    "long_wait": lambda: Retry(NAME, after=sys.maxsize),
    "endless_wait": lambda: Retry(after=10**400),
    "bad_wait": lambda: BadRetry("soon"),
    "no_wait": lambda: BadRetry(float("nan")),
    "wait_back": lambda: BadRetry(-1),
    "infinite_wait": lambda: BadRetry(float("inf")),
    "unkind_wait": lambda: BadRetry(Unkind()),
    "negative_wait": lambda: Retry(after=-1),
    "text_wait": lambda: Retry(after="soon"),
    "syntax": lambda: SyntaxError(NAME, (NAME, Unkind(), Unkind(), NAME)),
    "unicode": lambda: UnicodeEncodeError("utf-8", NAME, 0, 1, NAME),
    "os_error": lambda: FileNotFoundError(2, NAME, NAME, None, Unkind()),
}


def _raiser(make: Callable[[], BaseException]) -> Callable[[], Any]:
    def raises() -> NoReturn:
        raise make()

    return raises


ACTS |= {f"raise_{name}": _raiser(make) for name, make in ERRORS.items()}


@act
def raise_nested() -> NoReturn:
    error: Exception = ValueError(NAME)
    for _ in range(3_000):
        error = ExceptionGroup("nest", [error])
    raise error


@act
def raise_chain() -> NoReturn:
    error = ValueError(NAME)
    for _ in range(20_000):
        after = ValueError("after")
        after.__cause__, error = error, after
    raise error


@act
def raise_deep() -> NoReturn:
    raise_deep()


@act
def raise_notes() -> NoReturn:
    error = ValueError("noted")
    error.__notes__ = [NAME, Unkind(), "x" * 1_000_000]
    raise error


class Guarded:
    def __getattr__(self, name: str) -> NoReturn:
        raise SystemExit(name)


@act
def raise_from_odd_file() -> None:
    exec(compile("raise ValueError('odd')", NAME + "x" * 2_000, "exec"), {"__loader__": Guarded(), "__name__": NAME})


# Results


class Dumping:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def model_dump(self, mode: str) -> NoReturn:
        raise self.error


class Again:
    def model_dump(self, mode: str) -> Any:
        return [self]


def _cycle() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["loop"] = [loop, loop]
    return loop


def _laughs() -> list[Any]:
    laughs: list[Any] = ["ha"] * 10
    for _ in range(12):
        laughs = [laughs] * 10
    return laughs


class Page(msgspec.Struct):
    rows: list[Any]


RESULTS: dict[str, Callable[[], Any]] = {
    "file_name": lambda: [NAME],
    "nan": lambda: float("nan"),
    "bytes": lambda: b"\xff\xfe",
    "object": object,
    "unkind": lambda: [Unkind()],
    "raw": lambda: msgspec.Raw(b'{"a": nan'),
    "raw_bytes": lambda: {"a": msgspec.Raw(b'"\xff"')},
    "exit": lambda: Dumping(SystemExit(NAME)),
    "key_error": lambda: Dumping(KeyError(NAME)),
    "mute": lambda: Dumping(Mute()),
    "bare": lambda: [Dumping(Bare())],
    "stopped": lambda: Dumping(handlers.Stopped()),
    "again": Again,
    "guarded": Guarded,
    "keys": lambda: {NAME: 1},
    "odd_keys": lambda: {(1, 2): 3},
    "text": lambda: Texts("sub"),
    "class": nameless,
    "huge": lambda: "x" * 20_000_000,
    "many": lambda: [[0] * 1_000] * 100_000,
    "page": lambda: Page([{"a": [0] * 1_000}] * 100_000),
    "cycle": _cycle,
    "laughs": _laughs,
}
ACTS |= {f"give_{name}": make for name, make in RESULTS.items()}


# Log lines

LINES: dict[str, Callable[[], tuple[Any, ...]]] = {
    "file_name": lambda: (NAME,),
    "arguments": lambda: ("%d %d", NAME),
    "too_many": lambda: ("none", 1, 2),
    "unkind": lambda: ("%s", Unkind()),
    "no_text": lambda: (Unkind(),),
    "none": lambda: (None,),
    "exit": lambda: ("%s", Leaving()),
    "mute": lambda: ("%s", Mute()),
    "huge": lambda: ("x" * 20_000_000,),
    "nul": lambda: ("a\0b\nc\x1b[2J",),
    "deep": lambda: ("%s", Deep()),
}


def _logger(make: Callable[[], tuple[Any, ...]]) -> Callable[[], Any]:
    return lambda: LOGGER.error(*make())


ACTS |= {f"log_{name}": _logger(make) for name, make in LINES.items()}


@act
def log_exceptions() -> None:
    for make in (Mute, Loud, lambda: nameless()(NAME), Endless, Noted, lambda: ExceptionGroup(NAME, [Mute()])):
        try:
            raise make()
        except Exception:
            LOGGER.exception(NAME)


@act
def log_extra() -> None:
    LOGGER.error("extra", extra={"task": Unkind(), "trace": Unkind(), NAME: Unkind()})
    LOGGER.error("extra", extra={"task": NAME * 100_000})


@act
def log_records() -> None:
    odd: list[dict[str, Any]] = [
        {"levelno": "high"}, {"levelno": Unkind()}, {"exc_info": True}, {"exc_info": (1, 2, 3)}, {"name": Unkind()},
        {"name": 5}, {"msg": Unkind(), "args": Unkind()}, {"exc_info": (None, None, None)}, {"getMessage": None},
        {"exc_info": (Mute, Mute(), None)}, {"levelno": 10**30},
    ]  # fmt: skip
    for changes in odd:
        record = logging.makeLogRecord({"levelno": logging.ERROR, "name": NAME, "msg": NAME} | changes)
        for handler in logging.getLogger().handlers:
            handler.handle(record)


@act
def log_from_odd_loggers() -> None:
    logging.getLogger("").error(NAME)
    logging.getLogger("x" * 100_000 + NAME).error(NAME)
    logging.getLogger("..").error(NAME)


@act
def replace_streams() -> None:
    """What the standard library would complain to is gone."""
    kept = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = None
    try:
        LOGGER.error("%d", NAME)
    finally:
        sys.stdout, sys.stderr = kept


# What a test describes


def perform(wanted: dict[str, Any]) -> Any:
    """Raises, gives or logs what is described; see `test_fuzz`."""
    if "raise" in wanted:
        raise _exception(wanted["raise"])
    if "log" in wanted:
        line = wanted["log"]
        logging.getLogger(_text(line["logger"])).log(
            line["level"], _value(line["message"]), *map(_value, line["arguments"]), extra=_value(line["extra"])
        )
        return None
    return _value(wanted["give"])


def _text(points: list[int]) -> str:
    return "".join(map(chr, points))


def _exception(described: dict[str, Any]) -> BaseException:
    kind, arguments = described["kind"], [_value(one) for one in described["arguments"]]
    if kind == "group":
        inner = [_exception(one) for one in described["inner"]] or [Mute()]
        error: BaseException = BaseExceptionGroup(NAME, inner)
    elif kind in ERRORS:
        error = ERRORS[kind]()
    else:
        error = KINDS[kind](*arguments)
    if described["cause"] is not None and kind != "closed":
        error.__cause__ = _exception(described["cause"])
    for note in described["notes"]:
        if kind not in ("closed", "noted"):
            error.add_note(_text(note))
    return error


KINDS: dict[str, Callable[..., BaseException]] = {
    kind.__name__: kind
    for kind in (
        ValueError, KeyError, OSError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, Permanent,
        StopAsyncIteration, AssertionError, ImportError, MemoryError, RecursionError, BaseException,
    )
}  # fmt: skip
OBJECTS: dict[str, Callable[[], Any]] = RESULTS | {"error": Mute, "subtle": lambda: Texts("subtle"), "loud": Loud}


def _value(described: dict[str, Any]) -> Any:
    """A value from its description, which is JSON: one entry, whose name is its kind."""
    ((kind, given),) = described.items()
    if kind == "text":
        return _text(given)
    if kind == "number":
        return float(given) if "." in given or given.lstrip("-").isalpha() or "e" in given else int(given)
    if kind == "list":
        return [_value(one) for one in given]
    if kind == "dict":
        return {_text(name): _value(one) for name, one in given}
    return OBJECTS[given]() if kind == "object" else given
