"""The register of handlers: filled by the decorator while users' modules are imported, read by the runner."""

import inspect
import re
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, get_args

from tasks_server.domain import limits
from tasks_server.handlers.context import Context
from tasks_server.handlers.enqueuing import Decorator, enqueueable

BUILTIN_NAMES: Final = frozenset({"default", "curl"})
"""Every engine has these itself."""
_NAME: Final = re.compile(limits.KEY_PATTERN)
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
Backoff = Literal["fixed", "linear", "exponential"]
_BACKOFFS: Final[tuple[Backoff, ...]] = get_args(Backoff)


class Registration(NamedTuple):
    """A handler as it was registered. Options that were not given are None."""

    name: str
    function: Callable[..., Any]
    coroutine: bool
    """Whether it runs on the event loop; else in a thread."""
    payload: inspect.Parameter | None
    """The parameter that takes the payload."""
    context: str | None
    """The name of the parameter that takes the context."""
    timeout_ms: int | None
    retries_max: int | None
    retry_interval_ms: int | None
    backoff: Backoff | None
    concurrency_max: int | None

    @property
    def place(self) -> str:
        """Where its function stands, for people."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(self.function)


registered: Final[dict[str, Registration]] = {}
"""The handlers of this process, by name."""


def register(
    name: str,
    *,
    timeout: float | None = None,
    max_retries: int | None = None,
    retry_delay: float | None = None,
    backoff: Backoff | None = None,
    concurrency: int | None = None,
) -> Decorator:
    """Registers the function below it as the handler `name`, and leaves the function as it is, but for two attributes:
    `enqueue` and `enqueue_async`, which make tasks that run it (see `enqueuing.Enqueuing`).

    `timeout`: seconds an attempt may take, 0.1 to 86 400. `max_retries`: how often a failed task is tried again.
    `retry_delay`: seconds before the first retry, 1 by default; `backoff`: how that wait grows, exponentially by
    default. All four hold for tasks that do not say otherwise. `concurrency`: how many may run at once in one worker;
    by default 256 coroutines or 32 others.

    Raises `ValueError` or `TypeError` when a name is taken or malformed, an option is out of bounds, or the function
    cannot be called with a payload.
    """
    if callable(name):
        raise TypeError('@handlers.register takes the name of the handler, as in @handlers.register("send-email")')
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > limits.NAME_LENGTH_MAX:
        raise ValueError(
            f"handler {name!r}: a name is 1 to {limits.NAME_LENGTH_MAX} characters of a-z A-Z 0-9 $ _ . - [ ]"
        )
    if name in BUILTIN_NAMES:
        raise ValueError(f"handler {name!r}: this name is taken by a handler that every worker has; choose another")
    timeout_ms = _milliseconds(name, "timeout", timeout, limits.TIMEOUT_MIN_MS, limits.TIMEOUT_MAX_MS)
    retry_interval_ms = _milliseconds(name, "retry_delay", retry_delay, 1, limits.TEN_YEARS_MS)
    _check_count(name, "max_retries", max_retries, 0, limits.RETRY_MAX)
    _check_count(name, "concurrency", concurrency, 1, 100_000)
    growth = _backoff(name, backoff)

    def add(function: Any) -> Any:
        payload, context = _parameters(name, function)
        new = Registration(
            name,
            function,
            inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__),
            payload,
            context,
            timeout_ms,
            max_retries,
            retry_interval_ms,
            growth,
            concurrency,
        )
        known = registered.setdefault(name, new)
        if known is not new:
            raise ValueError(f"handler {name!r} is registered twice: at {known.place} and at {new.place}")
        return enqueueable(function, new)

    return add


def _parameters(name: str, function: Any) -> tuple[inspect.Parameter | None, str | None]:
    """The parameter for the payload and the name of that for the context."""
    if not callable(function) or inspect.isclass(function):
        raise TypeError(f"handler {name!r}: must be a function, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"handler {name!r}: must not be a generator; return the result instead of yielding it")
    payload: inspect.Parameter | None = None
    context: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        if _is_context(parameter) and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY:
            context = parameter.name
        elif payload is None and parameter.kind in _POSITIONAL:
            payload = parameter
        elif parameter.default is inspect.Parameter.empty and parameter.kind not in _VARIABLE:
            raise TypeError(
                f"handler {name!r}: nothing can be given for its parameter {parameter.name!r}; a handler takes the "
                "payload and, if it wants it, `context: Context`"
            )
    return payload, context


def _is_context(parameter: inspect.Parameter) -> bool:
    """Whether it wants the context: by its annotation, also one that is text, or by its name when it has none."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return parameter.name == "context"
    if isinstance(annotation, str):
        return annotation.strip("'\" ").rpartition(".")[2] == "Context"
    return annotation is Context


def _milliseconds(name: str, option: str, seconds: float | None, least: int, most: int) -> int | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not least <= seconds * 1_000 <= most:
        raise ValueError(
            f"handler {name!r}: {option} must be {least / 1_000:g} to {most // 1_000} seconds, not {seconds!r}"
        )
    return round(seconds * 1_000)


def _backoff(name: str, backoff: str | None) -> Backoff | None:
    """How the wait grows, given in any case."""
    if backoff is None:
        return None
    for word in _BACKOFFS:
        if isinstance(backoff, str) and word == backoff.lower():
            return word
    raise ValueError(f"handler {name!r}: backoff must be one of {', '.join(_BACKOFFS)}, not {backoff!r}")


def _check_count(name: str, option: str, count: int | None, least: int, most: int) -> None:
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not least <= count <= most):
        raise ValueError(f"handler {name!r}: {option} must be a whole number from {least} to {most}, not {count!r}")
