"""`/v1/logs`: the execution log. One entry for each recorded attempt, of all tasks, the newest end first."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec

from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.listing import read_host, read_instant, read_number, read_words, status_range
from tasks_server.api.routes import QueryParameter, Route, Success
from tasks_server.api.states import Readable
from tasks_server.api.wire import encode
from tasks_server.domain import dates, ids, limits, shapes
from tasks_server.domain.attempt import UNCOUNTED, OutcomeKind, Redirected
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.request import Key
from tasks_server.domain.stored import UNREADABLE
from tasks_server.domain.task import HANDLER_MARK, handler_target
from tasks_server.service.journal import JournalService
from tasks_server.store.journal import FOREVER, LogEntry, LogQuery
from tasks_server.store.journal import Key as Place

_T = TypeVar("_T")
PATH: Final = "/v1/logs"
STATES: Final[dict[str, frozenset[OutcomeKind]]] = {
    "SUCCESS": frozenset({OutcomeKind.SUCCESS}),
    "ERROR": frozenset(set(OutcomeKind) - UNCOUNTED - {OutcomeKind.SUCCESS}),
    "STOPPED": UNCOUNTED,
}
"""What the log calls the state of an attempt, by how it ended. STOPPED: it says nothing of the target."""
_STATE_OF: Final = {outcome: state for state, outcomes in STATES.items() for outcome in outcomes}
_STATE_NAMES: Final = (*STATES, *(kind.value for kind in OutcomeKind))
_STATUS: Final = re.compile(r"0|[0-9]{3}|[1-5]xx")
_INT64_MAX: Final = 2**63 - 1
_STATUS_FORM: Final = "statuses such as 404, classes such as 5xx, 0 for no answer, with commas between them"
_INSTANT: Final = f"An instant: {dates.FORMS}"
QUERY: Final = (
    QueryParameter("limit", {"type": "integer", "minimum": 1, "maximum": limits.PAGE_SIZE_MAX}, "Entries of a page"),
    QueryParameter("state", {"enum": list(_STATE_NAMES)}, "State or outcome; several with commas between them"),
    QueryParameter("statusCode", {"type": "string", "examples": ["404", "5xx"]}, f"Only these: {_STATUS_FORM}"),
    QueryParameter("host", {"type": "string", "examples": ["example.com"]}, "Only calls of this host, or host:port"),
    QueryParameter("handler", {"type": "string"}, "Only runs of this handler"),
    QueryParameter("lane", {"type": "string", "minLength": 1, "maxLength": limits.NAME_LENGTH_MAX}, "Only this lane"),
    QueryParameter("schedule", {"type": "string"}, "Only tasks of this schedule, by its id or its name"),
    QueryParameter("task", {"type": "string"}, "Only this task, by its id"),
    QueryParameter("since", {"type": "string"}, f"Only what ended then or later. {_INSTANT}"),
    QueryParameter("until", {"type": "string"}, f"Only what ended before. {_INSTANT}"),
    QueryParameter("cursor", {"type": "string"}, "Where the page begins; from the Link header of the page before"),
)
_NAMES: Final = tuple(parameter.name for parameter in QUERY)


class LogEntryView(Readable, rename="camel"):
    """One attempt of one task. Instants are ms since the epoch. `late` is how many ms it began after it was due,
    `duration` how many it took. `host` is null for a task that runs a handler, `handler` for one that sends a request.
    `responseTruncated`: of the answer only the first part was kept. `redirected`: where redirects led, null where none
    was followed.
    """

    task_id: str
    owner_id: str
    attempt: int
    state: str
    outcome: str
    status_code: int
    host: str | None
    handler: str | None
    lane: str
    schedule_id: str | None
    fire_at: int | None
    due_at: int
    started_at: int
    ended_at: int
    late: int
    duration: int
    error: str | None
    response_truncated: bool
    redirected: Redirected | None


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Where the next page begins."""

    ended_at: int
    task: int
    number: int


class LogRoutes:
    """The handler, and the table of it."""

    def __init__(self, journal: JournalService) -> None:
        self._journal = journal

    def table(self) -> list[Route]:
        page = Success(
            200,
            list[LogEntryView],
            "A page of the log, the newest end first",
            {"Link": 'Where to go on, as rel="next"; not there at the end of the log'},
        )
        return [
            Route(
                "GET",
                PATH,
                self.list,
                "Show the execution log",
                "owner",
                [page],
                ["invalid_request"],
                query=QUERY,
                description="One entry for each attempt that has ended. A page is a bounded piece of work: when a "
                "filter fits few attempts, it may be short or empty, and Link tells that there is more to look at.",
            )
        ]

    async def list(self, exchange: Exchange) -> Answer:
        query = exchange.query(_NAMES)
        asked = read_query(exchange.caller.scope, query, self._journal.zone)
        page = await self._journal.page(asked)
        body = encode([entry_view(entry) for entry in page.entries])
        if page.next is None:
            return Answer(200, body)
        link = f'<{PATH}?{urlencode({**query, "cursor": cursor_of(page.next)})}>; rel="next"'
        return Answer(200, body, headers=((b"link", link.encode("ascii")),))


def cursor_of(place: Place) -> str:
    """The text that stands for where a page begins."""
    return base64.urlsafe_b64encode(encode(_Cursor(*place))).rstrip(b"=").decode("ascii")


def entry_view(entry: LogEntry) -> LogEntryView:
    attempt, target = entry.attempt, entry.target
    runs_handler = target.startswith(HANDLER_MARK)
    return LogEntryView(
        task_id=entry.task,
        owner_id=entry.owner,
        attempt=attempt.number,
        state=_STATE_OF.get(attempt.outcome, UNREADABLE),
        outcome=attempt.outcome.value,
        status_code=attempt.status_code,
        host=None if runs_handler else target,
        handler=target.removeprefix(HANDLER_MARK) if runs_handler else None,
        lane=entry.lane,
        schedule_id=entry.schedule,
        fire_at=None if entry.schedule is None else entry.fire_at,
        due_at=attempt.due_at,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        late=attempt.started_at - attempt.due_at,
        duration=attempt.ended_at - attempt.started_at,
        error=attempt.error,
        response_truncated=attempt.response_truncated,
        redirected=attempt.redirected,
        unreadable=attempt.unreadable or msgspec.UNSET,
    )


def read_query(owner: str | None, query: Mapping[str, str], zone: tzinfo) -> LogQuery:
    """What is asked for, from names and values as they stand in a query. Raises `InvalidRequest` with every fault."""
    faults: list[Fault] = []

    def read(name: str, reader: Callable[[str], _T]) -> _T | None:
        """The value as `reader` understands it; a `ValueError` of it is a fault: what is wrong, and what is allowed."""
        value = query.get(name)
        if value is None:
            return None
        try:
            return reader(value)
        except ValueError as error:
            message, allowed = error.args if len(error.args) == 2 else (str(error), None)
            faults.append(Fault(f"query.{name}", message, value[:100], allowed))
            return None

    host, handler = read("host", read_host), read("handler", handler_target)
    if host is not None and handler is not None:
        faults.append(Fault("query.handler", "cannot be given together with host: a task has one of them", handler[1:]))
    lane = query.get("lane")
    if lane is not None:
        faults += shapes.faults_of(Key, lane, "query.lane")
    since, until = (
        read("since", lambda text: read_instant(text, zone)),
        read("until", lambda text: read_instant(text, zone)),
    )
    asked = LogQuery(
        owner,
        limit=read_number(query, "limit", (1, limits.PAGE_SIZE_MAX), limits.PAGE_SIZE_DEFAULT, faults),
        outcomes=_outcomes(query, faults),
        statuses=read("statusCode", _statuses),
        target=host or handler,
        lane=lane,
        schedule=query.get("schedule"),
        task=read("task", _task),
        since=since or 0,
        until=FOREVER if until is None else until,
        after=read("cursor", _place),
    )
    if faults:
        raise InvalidRequest(faults)
    return asked


def _outcomes(query: Mapping[str, str], faults: list[Fault]) -> frozenset[OutcomeKind] | None:
    names = read_words(query, "state", _STATE_NAMES, faults)
    if names is None:
        return None
    return frozenset(kind for name in names for kind in STATES.get(name) or {OutcomeKind(name)})


def _statuses(text: str) -> tuple[tuple[int, int], ...]:
    found = []
    for part in text.lower().split(","):
        if not _STATUS.fullmatch(part):
            raise ValueError(f"must be {_STATUS_FORM}", _STATUS_FORM)
        found.append(status_range(part))
    return tuple(found)


def _task(text: str) -> str:
    if not ids.is_task_id(text):
        raise ValueError("must be the id of a task", "24 characters of A-Z and 0-9")
    return text


def _place(text: str) -> Place:
    try:
        cursor = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Cursor)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        cursor = None
    place = None if cursor is None else (cursor.ended_at, cursor.task, cursor.number)
    if place is None or not all(0 <= part <= _INT64_MAX for part in place):
        raise ValueError("is no cursor of this server; take it from the Link header", None)
    return place
