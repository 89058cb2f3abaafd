"""The query of `GET /v1/queues`, and the cursors that lead from page to page."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Final, get_args
from urllib.parse import urlencode

import msgspec

from tasks_server.api.states import WIRE_STATES
from tasks_server.domain import dates, ids, limits, shapes, words
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.hosts import ascii_host
from tasks_server.domain.reading import MetadataValue
from tasks_server.domain.request import Key
from tasks_server.domain.task import HANDLER_MARK, State, handler_target
from tasks_server.store.filtering import TaskFilter
from tasks_server.store.ports import Order, TaskQuery

METADATA_PREFIX: Final = "metadata."
NAMES: Final = (
    "limit",
    "offset",
    "order",
    "sort",
    "state",
    "lane",
    "schedule",
    "host",
    "handler",
    "statusCode",
    "createdSince",
    "createdUntil",
    "endedSince",
    "endedUntil",
    "cursor",
)
ORDERS: Final[dict[str, Order]] = {
    "createdAt": "created",
    "estimateEndAt": "ended",
    "estimateExecutionAt": "execution",
}
SORTS: Final = ("asc", "desc")
STATES: Final = tuple(dict.fromkeys(WIRE_STATES.values()))
assert set(ORDERS.values()) == set(get_args(Order))

_DIGITS: Final = re.compile(r"[0-9]{1,12}")
_MILLIS: Final = re.compile(r"[0-9]{1,15}")
_STATUS: Final = re.compile(r"0|[0-9]{3}|[1-5]xx")
STATUS_FORM: Final = "a status such as 404, a class such as 5xx, or 0: there was no answer"
_INT64_MAX: Final = 2**63 - 1


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Where the next page begins, and of which order; how many that fit are still to be skipped."""

    order: Order
    descending: bool
    value: int
    seq: int
    skip: int = 0


def read_query(
    owner: str | None, query: Mapping[str, str], zone: tzinfo = UTC, found: Iterable[Fault] = ()
) -> TaskQuery:
    """What is asked for; dates without a zone count in `zone`. Raises `InvalidRequest` with every fault, those that
    were `found` before included.
    """
    faults = list(found)
    order = read_word(query, "order", tuple(ORDERS), faults) or "createdAt"
    descending = read_word(query, "sort", SORTS, faults) == "desc"
    limit = read_number(query, "limit", (1, limits.PAGE_SIZE_MAX), limits.PAGE_SIZE_DEFAULT, faults)
    after, skip = read_cursor(query, ORDERS[order], descending, faults)
    asked = TaskQuery(
        owner,
        order=ORDERS[order],
        descending=descending,
        limit=limit,
        offset=skip,
        states=_states(query, faults),
        lane=query.get("lane"),
        metadata=_metadata(query, faults),
        after=after,
        filter=_filter(query, zone, faults),
    )
    if asked.lane is not None:
        faults += shapes.faults_of(Key, asked.lane, "query.lane")
    if owner is None and asked.order != "created":  # no index goes over all owners but that of arrival
        reason = "lists over all owners go by createdAt; name one with X-Tasks-Owner-Id for another order"
        faults.append(Fault("query.order", reason, order, ["createdAt"]))
    if faults:
        raise InvalidRequest(faults)
    return asked


def _filter(query: Mapping[str, str], zone: tzinfo, faults: list[Fault]) -> TaskFilter:
    """What the tasks have in common, beyond state, lane and metadata."""
    statuses = query.get("statusCode")
    if statuses is not None and not _STATUS.fullmatch(statuses.lower()):
        faults.append(Fault("query.statusCode", f"must be {STATUS_FORM}", statuses[:100], STATUS_FORM))
        statuses = None
    instants: dict[str, int | None] = {}
    for name in ("createdSince", "createdUntil", "endedSince", "endedUntil"):
        try:
            instants[name] = read_instant(query[name], zone) if name in query else None
        except ValueError as error:
            faults.append(Fault(f"query.{name}", str(error), query[name][:100], dates.FORMS))
    since, until = instants.get("endedSince"), instants.get("endedUntil")
    return TaskFilter(
        target=handler_target(query["handler"]) if "handler" in query else None,
        host=_host(query, faults),
        created_from=instants.get("createdSince"),
        created_until=instants.get("createdUntil"),
        schedule=query.get("schedule"),
        statuses=None if statuses is None else status_range(statuses),
        ended_from=max(since or 0, 1) if since is not None or until is not None else None,
        ended_until=until,
    )


def _host(query: Mapping[str, str], faults: list[Fault]) -> str | None:
    if "host" not in query:
        return None
    if "handler" in query:
        text = "cannot be given together with host: a task has one of them"
        faults.append(Fault("query.handler", text, query["handler"][:100]))
    try:
        return read_host(query["host"])
    except ValueError as error:
        faults.append(Fault("query.host", str(error.args[0]), query["host"][:100], "a host, or host:port"))
        return None


def read_host(text: str) -> str:
    """A host as tasks have it: in lower case, in ASCII. Raises `ValueError` with what is wrong and what is allowed."""
    if not text or HANDLER_MARK in text or "/" in text:
        raise ValueError("must be a host such as example.com, or host:port", "a host, or host:port")
    return ascii_host(text).lower()


def status_range(text: str) -> tuple[int, int]:
    """The first and the last status that a status or a class of them stands for.

    >>> status_range("404"), status_range("5XX"), status_range("0")
    ((404, 404), (500, 599), (0, 0))
    """
    lowered = text.lower()
    return int(lowered.replace("x", "0")), int(lowered.replace("x", "9"))


def next_link(
    path: str, query: Mapping[str, str], asked: TaskQuery, after: tuple[int, int] | None, skip: int = 0
) -> tuple[tuple[bytes, bytes], ...]:
    """The Link header (RFC 8288) of the page that follows: the same query, from where this page ended. None if there is
    no such page (`after` is None).
    """
    if after is None:
        return ()
    kept = {name: value for name, value in query.items() if name not in ("offset", "cursor")}
    link = f'<{path}?{urlencode({**kept, "cursor": cursor_of(asked, after, skip)})}>; rel="next"'
    return ((b"link", link.encode("ascii")),)


def cursor_of(asked: TaskQuery, after: tuple[int, int], skip: int = 0) -> str:
    """The cursor of the page that follows."""
    cursor = msgspec.json.encode(_Cursor(asked.order, asked.descending, *after, skip))
    return base64.urlsafe_b64encode(cursor).rstrip(b"=").decode("ascii")


def id_link(path: str, query: Mapping[str, str], last: str) -> str:
    """The Link header of the page that follows in a list by ids: from the last id of this one."""
    kept = {name: value for name, value in query.items() if name != "cursor"}
    cursor = base64.urlsafe_b64encode(last.encode()).decode()
    return f'<{path}?{urlencode({**kept, "cursor": cursor})}>; rel="next"'


def read_id_cursor(text: str | None, faults: list[Fault]) -> str:
    """The id that a cursor of a list by ids stands for; empty when there is none, or with a fault."""
    if text is None:
        return ""
    try:
        last = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except (ValueError, binascii.Error):
        last = ""
    if not ids.is_task_id(last):
        faults.append(Fault("query.cursor", "is no cursor of this server; take it from the Link header", text[:100]))
    return last


def read_cursor(
    query: Mapping[str, str], order: Order, descending: bool, faults: list[Fault]
) -> tuple[tuple[int, int] | None, int]:
    """Where the page begins, and how many that fit are to be skipped: by the cursor or, without one, by `offset`."""
    skip = read_number(query, "offset", (0, limits.OFFSET_MAX), 0, faults)
    if "cursor" not in query:
        return None, skip
    if skip:
        faults.append(Fault("query.offset", "cannot be given together with cursor", skip))
    text = query["cursor"]
    try:
        cursor = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Cursor)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        cursor = None
    if cursor is None or not _is_sound(cursor):
        faults.append(Fault("query.cursor", "is no cursor of this server; take it from the Link header", text[:100]))
        return None, 0
    if (cursor.order, cursor.descending) != (order, descending):
        faults.append(Fault("query.cursor", "belongs to a list of another order or sort"))
    return (cursor.value, cursor.seq), cursor.skip


def _is_sound(cursor: _Cursor) -> bool:
    return max(abs(cursor.value), abs(cursor.seq)) <= _INT64_MAX and 0 <= cursor.skip <= limits.OFFSET_MAX


def read_word(query: Mapping[str, str], name: str, known: Sequence[str], faults: list[Fault]) -> str | None:
    """One of the known words, given in any case; None where there is none, or with a fault."""
    value = query.get(name)
    word = None if value is None else words.chosen(value, known)
    if value is not None and word is None:
        faults.append(Fault(f"query.{name}", f"must be one of {', '.join(known)}", value[:100], list(known)))
    return word


def read_words(query: Mapping[str, str], name: str, known: Sequence[str], faults: list[Fault]) -> list[str] | None:
    """One or more of the known words, given in any case with commas between them. None: there are none."""
    if name not in query:
        return None
    found = []
    for given in query[name].split(","):
        word = words.chosen(given, known)
        if word is None:
            what = f"must be one or more of {', '.join(known)}, with commas between them"
            faults.append(Fault(f"query.{name}", what, given[:100], list(known)))
        else:
            found.append(word)
    return found


def read_number(query: Mapping[str, str], name: str, bounds: tuple[int, int], default: int, faults: list[Fault]) -> int:
    """A number of the query within its bounds; of one that is not, the default, and a fault."""
    value = query.get(name)
    if value is None:
        return default
    number = int(value) if _DIGITS.fullmatch(value) else -1
    if not bounds[0] <= number <= bounds[1]:
        allowed = f"an integer from {bounds[0]} to {bounds[1]}"
        faults.append(Fault(f"query.{name}", f"must be {allowed}", value[:100], allowed))
        return default
    return number


def read_instant(text: str, zone: tzinfo) -> int:
    """An instant of a query: milliseconds by their digits, or a date. Raises `ValueError` saying what is wrong."""
    at = int(text) if _MILLIS.fullmatch(text) else dates.instant(text, zone)
    if not 0 <= at <= dates.DATE_MAX_MS:
        raise ValueError("must lie between the years 1970 and 9999")
    return at


def _states(query: Mapping[str, str], faults: list[Fault]) -> frozenset[State] | None:
    names = read_words(query, "state", STATES, faults)
    return None if names is None else frozenset(state for state, name in WIRE_STATES.items() if name in names)


def _metadata(query: Mapping[str, str], faults: list[Fault]) -> tuple[tuple[str, str], ...]:
    wanted = [(name[len(METADATA_PREFIX) :], name) for name in query if name.startswith(METADATA_PREFIX)]
    for key, name in wanted:
        faults += shapes.faults_of(Key, key, f"query.{name[:64]}")
        faults += shapes.faults_of(MetadataValue, query[name], f"query.{name[:64]}")
    return tuple((key, query[name]) for key, name in wanted)
