"""What is sent, what its answer means, and when it is sent again: all of it without I/O.

A script yields what is to be done next, a `Request` to send or a `Rest` to take, and gets the answer to it; the two
clients play the same scripts.
"""

import itertools
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar, cast
from urllib.parse import quote, urlencode

import msgspec

from tasks_server.client.errors import BY_STATUS, ConnectionFailed, FieldFault, Problem, TasksError
from tasks_server.client.values import to_json

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Item = TypeVar("Item")

_JSON: Final = {"Content-Type": "application/json"}
_HARMLESS_TWICE: Final = ("GET", "PUT", "DELETE")
_PASSING: Final = (429, 502, 503, 504)
_NOT_DONE: Final = ("throttled", "store_unavailable", "store_gone", "store_read_only", "store_busy")
"""Codes by which the server says that nothing was done."""
_NEXT: Final = re.compile(r'<[^>?]*\?([^>]*)>\s*;\s*rel="?next"?')
_DETAIL_LENGTH_MAX: Final = 200
_KEY_LENGTH_MAX: Final = 255
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True)
class Retries:
    """When to try again what failed for now: a connection that broke, 429, 502, 503, 504. The waits double from `first`
    to `longest`, each shortened by chance; a `Retry-After` comes first. All in seconds. No try begins later than
    `deadline` after the first; 0: there is but one. While the server cannot be reached at all, none begins later than
    `unreachable` after the first that failed so.
    """

    deadline: float = 60.0
    first: float = 0.1
    longest: float = 5.0
    unreachable: float = 5.0

    def wait(self, number: int, retry_after: float | None, random: float) -> float:
        """Seconds to wait after failure `number`, counted from 0; `random` is from 0 to 1."""
        return (retry_after or 0.0) + min(self.longest, self.first * 2.0 ** min(number, 30)) * random


@dataclass(frozen=True)
class Answer:
    """What came back. The names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Lost:
    """No answer came. `sent`: whether the request may have arrived. `lasting`: another try would end the same."""

    cause: Exception
    sent: bool
    lasting: bool = False


Reply: TypeAlias = Answer | Lost | None


@dataclass(frozen=True)
class Rest:
    """Seconds to let pass."""

    seconds: float


@dataclass(frozen=True)
class Route(Generic[T]):
    """One method of one path of the API, and the type of its answer. `harmless_twice`: whether asking twice does the
    same as asking once, and is answered the same; by default where HTTP says so. `answers`: statuses that are answers
    here, and errors elsewhere. `done_by`: the code of the error that tells of a second try that the first one did it.
    """

    method: str
    path: str
    answer: type[T]
    harmless_twice: bool | None = None
    answers: tuple[int, ...] = ()
    done_by: str | None = None

    def request(
        self, *names: str, query: Mapping[str, object] | None = None, body: object = msgspec.UNSET
    ) -> "Request[T]":
        """A request, with `names` in the places of the path. Of `query`, None is left out."""
        for name in names:
            if not name:
                raise ValueError(f"a name in {self.path} is empty")
        places = iter(names)
        path = re.sub(r"\{\w+\}", lambda _: quote(next(places), safe=""), self.path)
        given = {name: _word(value) for name, value in (query or {}).items() if value is not None}
        has_body = body is not msgspec.UNSET
        harmless = self.method in _HARMLESS_TWICE if self.harmless_twice is None else self.harmless_twice
        return Request(
            self,
            path,
            urlencode(given),
            to_json(body) if has_body else None,
            _JSON if has_body else {},
            harmless,
        )

    def is_done_by(self, error: TasksError) -> bool:
        """Whether this error says that what is asked for was done before."""
        return (self.method == "DELETE" and error.status == 404) or error.code == self.done_by


def _word(value: object) -> str:
    """A value of a query."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else ",".join(value) if isinstance(value, list | tuple) else str(value)


def check_key(key: str) -> None:
    """Raises `ValueError` for what no Idempotency-Key can be."""
    if not (1 <= len(key) <= _KEY_LENGTH_MAX and key.isascii() and key.isprintable() and key == key.strip()):
        raise ValueError(f"an idempotency key is 1 to {_KEY_LENGTH_MAX} printable characters of ASCII, not {key!r}")


@dataclass(frozen=True)
class Request(Generic[T]):
    """A request that is ready to be sent, once or again."""

    route: Route[T]
    path: str
    query: str
    content: bytes | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    harmless_twice: bool

    def keyed(self, key: str) -> "Request[T]":
        """The same under an Idempotency-Key, which makes it harmless to send twice. Raises `ValueError` for a text that
        cannot be one.
        """
        check_key(key)
        return replace(self, headers={**self.headers, "Idempotency-Key": key}, harmless_twice=True)

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def read(self, answer: Answer) -> T:
        """What an answer says. Raises `TasksError` for one that is not of this API."""
        if self.route.answer is type(None):
            return None
        if self.route.answer is str:
            return cast(T, answer.body.decode("utf-8", "replace"))
        try:
            return msgspec.json.decode(answer.body, type=self.route.answer)
        except _UNREADABLE as error:
            detail = f"the answer is not what {self.route.method} {self.route.path} answers: {error}"
            raise TasksError(_problem(answer, "answer_unreadable", detail)) from error

    def script(self, core: "Core") -> "Script[T]":
        """Sends it until there is an answer that counts."""
        answer = yield from core.exchange(self)
        return self.read(answer)

    def page(self, core: "Core") -> "Script[tuple[T, Request[T] | None]]":
        """Sends it; gives the page and the request for the next one."""
        answer = yield from core.exchange(self)
        following = _NEXT.search(answer.headers.get("link", ""))
        return self.read(answer), replace(self, query=following[1]) if following else None


Script: TypeAlias = Generator[Request[Any] | Rest, Reply, T]


class Procedure(Protocol[T_co]):
    """What a method of a client does."""

    def script(self, core: "Core") -> Script[T_co]: ...


@dataclass(frozen=True)
class Core:
    """What both clients have in common. `monotonic` counts seconds, `random` gives from 0 to 1."""

    retries: Retries
    monotonic: Callable[[], float]
    random: Callable[[], float]
    url: str = "the server"

    def exchange(self, request: Request[Any]) -> Script[Answer]:
        """Sends a request, again where that may help and cannot harm. Raises `TasksError`."""
        ends_at = self.monotonic() + self.retries.deadline
        unreached_since: float | None = None
        doubt = False
        for number in itertools.count():
            reply = yield request
            assert reply is not None, "a request gets a reply"
            if isinstance(reply, Answer) and (reply.status < 300 or reply.status in request.route.answers):
                return reply
            error = error_of(reply, self.url)
            if isinstance(reply, Lost) and not reply.sent:
                unreached_since = self.monotonic() if unreached_since is None else unreached_since
                ends_at_now = min(ends_at, unreached_since + self.retries.unreachable)
            else:
                unreached_since, ends_at_now = None, ends_at
            if doubt and isinstance(reply, Answer) and request.route.is_done_by(error):
                return reply  # since the try whose answer was lost
            passing = not reply.lasting if isinstance(reply, Lost) else error.status in _PASSING
            again = passing and (request.harmless_twice or not error.uncertain)
            doubt = error.uncertain = request.route.method != "GET" and (doubt or error.uncertain)
            wait = self.retries.wait(number, error.retry_after, self.random())
            if not again or self.monotonic() + wait > ends_at_now:
                raise error from (reply.cause if isinstance(reply, Lost) else None)
            yield Rest(wait)
        raise AssertionError("the loop has no end of its own")


def error_of(reply: Answer | Lost, url: str) -> TasksError:
    """The error that an answer tells, or that there was none from the server at `url`."""
    if isinstance(reply, Lost):
        said = str(reply.cause) or type(reply.cause).__name__
        if reply.lasting:
            detail = said
        elif reply.sent:
            detail = f"no answer came from {url}: {said}"
        else:
            detail = (
                f"{url} cannot be reached: {said}. Is the server running there (tasks-server serve)? The address is "
                "the first argument of the client, or TASKS_SERVER_URL"
            )
        failed = ConnectionFailed(Problem(code="connection_failed", detail=detail))
        failed.uncertain = reply.sent
        return failed
    error = BY_STATUS.get(reply.status, TasksError)(_problem(reply))
    error.uncertain = reply.status >= 500 and error.code not in _NOT_DONE
    return error


class _Told(msgspec.Struct):
    """What of an error's body is read."""

    code: str
    detail: str = ""
    errors: tuple[FieldFault, ...] = ()


def _problem(answer: Answer, code: str = "", detail: str = "") -> Problem:
    """What an answer says is wrong; of one that is not this API's, its status and how it begins."""
    told = _Told(code, detail)
    if not code:
        try:
            told = msgspec.json.decode(answer.body, type=_Told)
        except _UNREADABLE:
            told = _Told("unknown", answer.body[:_DETAIL_LENGTH_MAX].decode("utf-8", "replace"))
    after = answer.headers.get("retry-after", "")
    return Problem(
        status=answer.status,
        code=told.code,
        detail=told.detail,
        errors=told.errors,
        request_id=answer.headers.get("x-request-id"),
        retry_after=float(after) if after.isascii() and after.isdigit() else None,
    )
