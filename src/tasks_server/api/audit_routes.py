"""`/v1/audit`: what was done by hand, and by whom."""

import re
from collections.abc import Mapping
from datetime import tzinfo
from typing import Final, get_args
from urllib.parse import urlencode

import msgspec

from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.listing import read_instant, read_number, read_word, read_words
from tasks_server.api.routes import QueryParameter, Route, Success
from tasks_server.api.wire import encode
from tasks_server.domain import limits
from tasks_server.domain.audit import ACTIONS, KINDS
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.owner import By
from tasks_server.service.audit import AuditService
from tasks_server.store.auditing import NEWEST, ActQuery, Entry

PATH: Final = "/v1/audit"
_BY: Final = get_args(By)
_CURSOR: Final = re.compile(r"[0-9]{1,18}")
_SUBJECT_LENGTH_MAX: Final = 128
_TEXT: Final = {"type": "string", "maxLength": _SUBJECT_LENGTH_MAX}
_QUERY: Final = (
    QueryParameter("limit", {"type": "integer", "minimum": 1, "maximum": limits.PAGE_SIZE_MAX}, "Entries of a page"),
    QueryParameter("cursor", {"type": "string"}, "Where the page begins; from the Link header of the page before"),
    QueryParameter("by", {"type": "string", "enum": list(_BY)}, "Only what the owner, or the operator, has done"),
    QueryParameter("kind", {"type": "string"}, f"Only what was done to these, with commas: {', '.join(KINDS)}"),
    QueryParameter("action", {"type": "string"}, f"Only these, with commas: {', '.join(ACTIONS)}"),
    QueryParameter("subject", _TEXT, "Only what was done to the task, lane … of this id or name"),
    QueryParameter("key", _TEXT, "Only what was done with this key, or by this user on the command line"),
    QueryParameter("since", {"type": "string"}, "Only what was done at this date or later"),
    QueryParameter("until", {"type": "string"}, "Only what was done before this date"),
)
_NAMES: Final = tuple(parameter.name for parameter in _QUERY)


class AuditEntryView(msgspec.Struct, rename="camel"):
    """One thing that was done by hand, at `at` (ms since the epoch). `by` is `owner` or `operator`, `via` is `api`,
    `cli` or `ui`. `key` is the id of the owner's key, or the first 8 characters of the SHA-256 of an admin key; null:
    none was sent. `user` is the system's user who ran a command. `subject` names the thing: the id of a task, a key or
    bulk work, the name of a lane or an owner, the id or the name of a schedule. `owner` is null when the owner is gone.
    """

    at: int
    by: str
    via: str
    key: str | None
    user: str | None
    owner_id: str | None
    owner: str | None
    kind: str
    action: str
    subject: str | None
    detail: str | None


class AuditRoutes:
    """The handler, and the table of it."""

    def __init__(self, audit: AuditService) -> None:
        self._audit = audit

    def table(self) -> list[Route]:
        page = Success(
            200,
            list[AuditEntryView],
            "A page of the record, the newest first",
            {"Link": 'Where to go on, as rel="next"; not there at the end'},
        )
        return [
            Route(
                "GET",
                PATH,
                self.list,
                "Show what was done by hand",
                "owner",
                [page],
                ["invalid_request"],
                query=_QUERY,
                description="An owner sees what was done to what is its own; an admin key sees all. To register tasks "
                "is no such act. A page is a bounded piece of work: when a filter fits few entries, it may be short or "
                "empty, and Link tells that there is more to look at.",
            )
        ]

    async def list(self, exchange: Exchange) -> Answer:
        query = exchange.query(_NAMES)
        page = await self._audit.page(read_query(exchange.caller.scope, query, self._audit.zone))
        body = encode([entry_view(entry) for entry in page.entries])
        if page.next is None:
            return Answer(200, body)
        link = f'<{PATH}?{urlencode({**query, "cursor": page.next})}>; rel="next"'
        return Answer(200, body, headers=((b"link", link.encode("ascii")),))


def entry_view(entry: Entry) -> AuditEntryView:
    act, actor = entry.act, entry.act.actor
    on_line = actor.via == "cli"
    return AuditEntryView(
        at=act.at,
        by=actor.by,
        via=actor.via,
        key=None if on_line else actor.who,
        user=actor.who if on_line else None,
        owner_id=act.owner,
        owner=entry.owner_name,
        kind=act.kind,
        action=act.action,
        subject=act.subject,
        detail=act.detail,
    )


def read_query(owner: str | None, query: Mapping[str, str], zone: tzinfo) -> ActQuery:
    """What is asked for, from names and values as they stand in a query. Raises `InvalidRequest` with every fault."""
    faults: list[Fault] = []
    kinds, actions = read_words(query, "kind", KINDS, faults), read_words(query, "action", ACTIONS, faults)
    since, until = _instant(query, "since", zone, faults), _instant(query, "until", zone, faults)
    for name in ("subject", "key"):
        if len(query.get(name, "")) > _SUBJECT_LENGTH_MAX:
            faults.append(Fault(f"query.{name}", f"must be at most {_SUBJECT_LENGTH_MAX} characters"))
    cursor = query.get("cursor")
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        faults.append(Fault("query.cursor", "is no cursor of this server; take it from the Link header", cursor[:100]))
        cursor = None
    asked = ActQuery(
        owner,
        limit=read_number(query, "limit", (1, limits.PAGE_SIZE_MAX), limits.PAGE_SIZE_DEFAULT, faults),
        by=read_word(query, "by", _BY, faults),
        kinds=None if kinds is None else frozenset(kinds),
        actions=None if actions is None else frozenset(actions),
        subject=query.get("subject"),
        who=query.get("key"),
        since=since or 0,
        until=NEWEST if until is None else until,
        before=NEWEST if cursor is None else int(cursor),
    )
    if faults:
        raise InvalidRequest(faults)
    return asked


def _instant(query: Mapping[str, str], name: str, zone: tzinfo, faults: list[Fault]) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        return read_instant(text, zone)
    except ValueError as error:
        faults.append(Fault(f"query.{name}", str(error), text[:100]))
        return None
