"""Bulk work: what it would do, how far it is, what it changed."""

from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from tasks_server.api.bulk_wire import BulkAsked, bulk_view, read_bulk
from tasks_server.api.exchange import Answer
from tasks_server.api.listing import METADATA_PREFIX
from tasks_server.api.routes import Route
from tasks_server.api.search_line import BULK, Line, read_line, written
from tasks_server.domain.bulk import Action, Bulk
from tasks_server.domain.errors import InvalidRequest
from tasks_server.service.bulks import BulkService, Sight
from tasks_server.web.frame import Frame
from tasks_server.web.owner_choice import OwnerChoice
from tasks_server.web.rendering import short
from tasks_server.web.task_pages import told_fault
from tasks_server.web.visit import Visit, see_other

PATH: Final = "/ui/bulk"
_ROWS: Final = 100
_GAUGE_PIXELS: Final = 110
_TYPED_FROM: Final = 1_000
"""From so many tasks on, the number is to be typed."""
WORDS: Final = {
    Action.RETRY: "Retry",
    Action.REVOKE: "Revoke",
    Action.DELETE: "Delete",
    Action.PAUSE: "Pause",
    Action.RESUME: "Resume",
    Action.EXECUTE: "Run now",
}


class BulkRow(msgspec.Struct):
    """A piece of bulk work."""

    id: str
    action: str
    standing: str
    waits: str | None
    line: str
    by: str
    created_at: int
    started_at: int
    ended_at: int
    seen: int
    total: int
    changed: int
    skipped: int
    gauge: int
    pace: str
    error: str | None
    unreadable: str | None


class BulkPages:
    """The pages, and their buttons. The bulk work of one owner."""

    def __init__(self, bulks: BulkService, choice: OwnerChoice) -> None:
        self._bulks = bulks
        self._choice = choice

    def table(self, frame: Frame) -> list[Route]:
        of = self._choice.of
        return [
            frame.shows(PATH, of(self.page, "Bulk work"), "Show bulk work"),
            frame.shows(f"{PATH}/new", of(self.new, "Bulk work"), "Show what bulk work would do"),
            frame.shows(f"{PATH}/{{id}}", of(self.bulk, "Bulk work"), "Show a piece of bulk work"),
            frame.does(f"{PATH}/new", of(self.create, "Bulk work"), "Ask for bulk work by a form"),
            frame.does(f"{PATH}/{{id}}/cancel", of(self.cancel, "Bulk work"), "Cancel bulk work from its page"),
        ]

    async def page(self, visit: Visit, owner: str) -> Answer:
        before = dict(visit.pairs()).get("cursor", "")
        found = await self._bulks.page(owner, before, _ROWS + 1)
        rows = [_row(bulk, visit.now) for bulk in found[:_ROWS]]
        return visit.page("bulks.html", "Bulk work", bulks=rows, next=rows[-1].id if len(found) > _ROWS else None)

    async def bulk(self, visit: Visit, owner: str) -> Answer:
        bulk = await self._bulks.show(owner, visit.exchange.parameter("id"))
        return visit.page(
            "bulk.html", f"Bulk work {bulk.id}", bulk=_row(bulk, visit.now), live=0 if bulk.ended_at else 2
        )

    async def new(self, visit: Visit, owner: str) -> Answer:
        """The form, and the dry run of what it says."""
        query = dict(visit.pairs())
        text, action = query.get("q", ""), query.get("action", Action.RETRY.value)
        told, sight = list[str](), None
        if "q" in query:
            sight, told = await self._sight(visit, owner, text, action)
        return self._form(visit, text, action, sight, told)

    async def create(self, visit: Visit, owner: str) -> Answer:
        """Stores the work; a number that was to be typed must be the one of the dry run."""
        form = await visit.form()
        text, action, typed = form.one("q"), form.one("action"), form.one("typed").strip()
        sight, told = await self._sight(visit, owner, text, action)
        if sight is None:
            return self._form(visit, text, action, None, told)
        if sight.changed >= _TYPED_FROM and typed.replace(" ", "").replace(",", "") != form.one("number"):
            return self._form(visit, text, action, sight, ["Type the number of tasks, to show that you mean it."])
        asked = _asked(visit, text, action, self._bulks)
        bulk = await self._bulks.create(owner, asked.action, asked.filter, visit.who.by)
        return see_other(visit.link(f"{PATH}/{bulk.id}"), {"done": "It is stored; the engines do it piece by piece."})

    async def cancel(self, visit: Visit, owner: str) -> Answer:
        bulk = await self._bulks.cancel(owner, visit.exchange.parameter("id"))
        told = {"done": f"It is {bulk.standing}; it has changed {bulk.changed} tasks."}
        return see_other(visit.link(f"{PATH}/{bulk.id}"), told)

    async def _sight(self, visit: Visit, owner: str, text: str, action: str) -> tuple[Sight | None, list[str]]:
        line = read_line(text, visit.now, BULK)
        if line.faults:
            return None, [told_fault(fault) for fault in line.faults]
        try:
            asked = _asked(visit, text, action, self._bulks)
            return await self._bulks.sight(owner, asked.action, asked.filter), []
        except InvalidRequest as error:
            return None, [told_fault(fault) for fault in error.faults]

    def _form(self, visit: Visit, text: str, action: str, sight: Sight | None, told: list[str]) -> Answer:
        return visit.page(
            "bulk_new.html",
            "Bulk work",
            status=400 if told else 200,
            q=text,
            action=action,
            actions=[(one.value, word) for one, word in WORDS.items()],
            words=BULK,
            sight=sight,
            told=told,
            word=next((word for one, word in WORDS.items() if one.value == action), action),
            typed_from=_TYPED_FROM,
            live=0,
        )


def _asked(visit: Visit, text: str, action: str, bulks: BulkService) -> BulkAsked:
    return read_bulk({"action": action, "filter": _filter(read_line(text, visit.now, BULK))}, bulks.zone)


def _filter(line: Line) -> dict[str, Any]:
    """The filter of a request for bulk work."""
    asked: dict[str, Any] = {}
    for name, value in line.query.items():
        if name.startswith(METADATA_PREFIX):
            asked.setdefault("metadata", {})[name[len(METADATA_PREFIX) :]] = value
        elif name == "states":
            asked[name] = value.split(",")
        elif name == "all":
            asked[name] = True
        else:
            asked[name] = int(value) if value.isdecimal() else value
    return asked | ({"ids": [line.id]} if line.id else {})


def for_bulk(query: dict[str, str]) -> str:
    """The line of a list of tasks, as one for bulk work."""
    names = {"state": "states"}
    return written({names.get(name, name): value for name, value in query.items()}, BULK)


def _row(bulk: Bulk, now: int) -> BulkRow:
    view = bulk_view(bulk)
    total = max(bulk.total, bulk.seen)
    spent_ms = (bulk.ended_at or now) - bulk.started_at if bulk.started_at else 0
    pace = ""
    if spent_ms > 0 and bulk.seen:
        rate = bulk.seen / spent_ms * 1_000
        pace = f"{rate:,.0f} looked at a second".replace(",", " ")
        if not bulk.ended_at and total > bulk.seen:
            pace += f"; about {short(round((total - bulk.seen) / rate * 1_000))} left"
    shown = {name: _text(value) for name, value in view.filter.items() if name != "metadata"}
    shown |= {f"{METADATA_PREFIX}{name}": value for name, value in (view.filter.get("metadata") or {}).items()}
    return BulkRow(
        *(bulk.id, bulk.action.value, bulk.standing, bulk.waits, written(shown, BULK), bulk.asked_by),
        *(bulk.created_at, bulk.started_at, bulk.ended_at, bulk.seen, total, bulk.changed, bulk.skipped),
        *(round(min(1.0, bulk.seen / total) * _GAUGE_PIXELS) if total else 0, pace, bulk.error, bulk.unreadable),
    )


def _text(value: object) -> str:
    return ",".join(str(one) for one in value) if isinstance(value, list) else str(value)


def link_of(query: dict[str, str], action: str) -> str:
    """Where bulk work over these tasks is asked for."""
    return f"{PATH}/new?{urlencode({'action': action, 'q': for_bulk(query)})}"
