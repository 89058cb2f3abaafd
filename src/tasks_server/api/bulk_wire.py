"""JSON of `/v1/bulk`: what is asked for, with all its faults at once, and what clients see of bulk work."""

import re
from datetime import tzinfo
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from tasks_server.api.listing import status_range
from tasks_server.api.states import WIRE_STATES, Readable
from tasks_server.domain import dates, ids, limits, masking, reading, shapes, words
from tasks_server.domain.bulk import Action, Bulk, BulkFilter
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.hosts import ascii_host
from tasks_server.domain.reading import Metadata
from tasks_server.domain.request import Key
from tasks_server.domain.task import State
from tasks_server.service.bulks import Sight

_STATUS: Final = re.compile(r"[1-5]xx")
_DATES: Final = ("createdSince", "createdUntil", "endedSince", "endedUntil")
_Instant = Annotated[int, Meta(ge=0, le=dates.DATE_MAX_MS)]
_Id = Annotated[str, Meta(pattern=f"^[0-9A-Z]{{{ids.TASK_ID_LENGTH}}}$")]
_Status = Annotated[int, Meta(ge=0, le=999)] | Annotated[str, Meta(pattern=r"^[1-5]xx$")]


class BulkFilterBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which tasks; every condition that is given must hold, one at least. `all`: every task of the owner. Without
    `states` and `ids`, it is for the tasks that the action is meant for. Dates are ms since the epoch or text; `…Since`
    is inside, `…Until` is not. `statusCode`: 503, a class such as 5xx, or 0: there was no answer. `host`: of the URL,
    for any port or with one. `schedule`: its id or name.
    """

    all: Literal[True] | None = None
    states: (
        Annotated[list[Literal["RUNNING", "PAUSED", "SUCCESS", "ERROR", "REVOKED"]], Meta(min_length=1, max_length=5)]
        | None
    ) = None
    lane: Key | None = None
    host: Annotated[str, Meta(min_length=1, max_length=300)] | None = None
    handler: Key | None = None
    schedule: Key | None = None
    status_code: _Status | None = None
    error_contains: Annotated[str, Meta(min_length=1, max_length=limits.BULK_ERROR_LENGTH_MAX)] | None = None
    metadata: Metadata | None = None
    created_since: _Instant | None = None
    created_until: _Instant | None = None
    ended_since: _Instant | None = None
    ended_until: _Instant | None = None
    ids: Annotated[list[_Id], Meta(min_length=1, max_length=limits.BULK_IDS_MAX)] | None = None


class BulkBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Bulk work that is asked for. `dryRun`: nothing is changed, only counted."""

    action: Literal["retry", "revoke", "delete", "pause", "resume", "execute"]
    filter: BulkFilterBody
    dry_run: bool = False


class BulkAsked(msgspec.Struct, frozen=True):
    """What a body asks for."""

    action: Action
    filter: BulkFilter
    dry_run: bool


class BulkView(Readable, rename="camel"):
    """A piece of bulk work. Instants are ms since the epoch, 0: not yet. It has looked at `seen` tasks of `total`,
    which is an estimate; those that its filter found were `changed`, or `skipped` because their state did not allow
    it. `waitsFor`: what it needs to go on (`queue_full`: places in the queue; `step_failed`: another try), or null.
    `error`: why it has failed, or why its last step could not be done.
    """

    id: str
    action: str
    filter: dict[str, Any]
    state: str
    total: int
    seen: int
    changed: int
    skipped: int
    waits_for: str | None
    error: str | None
    asked_by: str
    created_at: int
    started_at: int
    updated_at: int
    ended_at: int


class BulkSightView(msgspec.Struct, rename="camel"):
    """What bulk work would do now. `atLeast`: there are more tasks than a dry run looks at, and the counts are of those
    alone. `sample`: ids of some that would change.
    """

    action: str
    filter: dict[str, Any]
    dry_run: bool
    seen: int
    changed: int
    skipped: int
    at_least: bool
    sample: list[str]


def read_bulk(raw: object, zone: tzinfo) -> BulkAsked:
    """What a body asks for; dates without a zone count in `zone`. Raises `InvalidRequest` with every fault."""
    if not isinstance(raw, dict):
        raise InvalidRequest([Fault("body", "must be a JSON object", shapes.shown(raw), "an object")])
    faults: list[Fault] = []
    asked = raw.get("filter")
    canonical = _canonical(asked, zone, faults) if isinstance(asked, dict) else asked
    spoiled = {fault.field for fault in faults}
    whole = words.spelled(BulkBody, raw | ({"filter": canonical} if "filter" in raw else {}))
    faults += [fault for fault in shapes.struct_faults(BulkBody, whole, "") if fault.field not in spoiled]
    if isinstance(canonical, dict):
        faults += _faults_between(canonical)
    if faults:
        raise InvalidRequest(faults)
    body = msgspec.convert(whole, BulkBody)
    return BulkAsked(Action(body.action), _filter_of(body.filter), body.dry_run)


def _canonical(asked: dict[str, Any], zone: tzinfo, faults: list[Fault]) -> dict[str, Any]:
    """Dates in milliseconds, whole numbers as integers, classes of statuses and hosts in the case that we write them
    in.
    """
    read = {name: reading.whole(value) for name, value in asked.items()}
    for name in _DATES:
        if isinstance(read.get(name), str):
            try:
                read[name] = dates.instant(read[name], zone)
            except ValueError as error:
                faults.append(Fault(f"filter.{name}", str(error), shapes.shown(read[name]), dates.FORMS))
    if isinstance(read.get("statusCode"), str):
        read["statusCode"] = read["statusCode"].lower()
    if isinstance(read.get("host"), str):
        try:
            read["host"] = ascii_host(read["host"]).lower()
        except ValueError as error:
            faults.append(Fault("filter.host", str(error), shapes.shown(read["host"])))
    return read


def _faults_between(asked: dict[str, Any]) -> list[Fault]:
    """What is wrong with conditions together."""
    given = [name for name, value in asked.items() if value is not None]
    faults = []
    if not given:
        text = 'names no condition; give one, or {"all": true} for every task'
        faults.append(Fault("filter", text, allowed=list(shapes.fields_of(BulkFilterBody))))
    if "all" in given and len(given) > 1:
        faults.append(Fault("filter.all", "cannot be given together with other conditions"))
    if "host" in given and "handler" in given:
        faults.append(Fault("filter.handler", "cannot be given together with host: a task has one of them"))
    for since, until in (_DATES[:2], _DATES[2:]):
        first, last = asked.get(since), asked.get(until)
        if isinstance(first, int) and isinstance(last, int) and first >= last:
            faults.append(Fault(f"filter.{until}", f"must lie after {since}", last))
    return faults


def _filter_of(body: BulkFilterBody) -> BulkFilter:
    states = None
    if body.states is not None:
        states = tuple(sorted(state for state, name in WIRE_STATES.items() if name in body.states))
    return BulkFilter(
        states=states,
        lane=body.lane,
        host=body.host,
        handler=body.handler,
        schedule=body.schedule,
        status=None if body.status_code is None else status_range(str(body.status_code)),
        error=body.error_contains,
        metadata=body.metadata,
        created_since=body.created_since,
        created_until=body.created_until,
        ended_since=body.ended_since,
        ended_until=body.ended_until,
        ids=None if body.ids is None else tuple(dict.fromkeys(body.ids)),
    )


def bulk_view(bulk: Bulk) -> BulkView:
    return BulkView(
        id=bulk.id,
        action=bulk.action.value,
        filter={} if bulk.unreadable and bulk.filter == BulkFilter() else shown_filter(bulk.filter),
        state=bulk.standing,
        total=max(bulk.total, bulk.seen) if bulk.standing != "done" else bulk.seen,
        seen=bulk.seen,
        changed=bulk.changed,
        skipped=bulk.skipped,
        waits_for=bulk.waits,
        error=bulk.error,
        asked_by=bulk.asked_by,
        created_at=bulk.created_at,
        started_at=bulk.started_at,
        updated_at=bulk.updated_at,
        ended_at=bulk.ended_at,
        unreadable=bulk.unreadable or msgspec.UNSET,
    )


def sight_view(sight: Sight) -> BulkSightView:
    return BulkSightView(
        action=sight.action.value,
        filter=shown_filter(sight.filter),
        dry_run=True,
        seen=sight.seen,
        changed=sight.changed,
        skipped=sight.skipped,
        at_least=not sight.whole,
        sample=sight.sample,
    )


def shown_filter(asked: BulkFilter) -> dict[str, Any]:
    """A filter as it could be asked for again."""
    states = None
    if asked.states is not None:
        states = list(dict.fromkeys(WIRE_STATES[state] for state in State if state in asked.states))
    shown: dict[str, Any] = {
        "states": states,
        "lane": asked.lane,
        "host": asked.host,
        "handler": asked.handler,
        "schedule": asked.schedule,
        "statusCode": _shown_status(asked.status),
        "errorContains": asked.error,
        "metadata": masking.shown_entries(asked.metadata),
        "createdSince": asked.created_since,
        "createdUntil": asked.created_until,
        "endedSince": asked.ended_since,
        "endedUntil": asked.ended_until,
        "ids": None if asked.ids is None else list(asked.ids),
    }
    return {name: value for name, value in shown.items() if value is not None} or {"all": True}


def _shown_status(status: tuple[int, int] | None) -> int | str | None:
    if status is None or status[0] == status[1]:
        return None if status is None else status[0]
    return f"{status[0] // 100}xx"
