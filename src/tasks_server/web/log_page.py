"""The execution log: what ran when, and how it went."""

from collections.abc import Sequence
from typing import Final

from tasks_server.api.exchange import Answer
from tasks_server.api.log_routes import LogEntryView, cursor_of, entry_view, read_query
from tasks_server.api.routes import Route
from tasks_server.api.search_line import LOG, read_line, written
from tasks_server.domain.errors import InvalidRequest
from tasks_server.service.journal import JournalService
from tasks_server.store.journal import LOOKED_AT_MAX, LogEntry, LogPage
from tasks_server.web.frame import Frame
from tasks_server.web.task_pages import told_fault
from tasks_server.web.visit import Visit, see_other

PATH: Final = "/ui/log"
_ROWS: Final = "100"
_BAR_PIXELS: Final = 90
_TABS: Final = ("", "success", "error", "stopped")


class LogPages:
    """The page."""

    def __init__(self, journal: JournalService) -> None:
        self._journal = journal

    def table(self, frame: Frame) -> list[Route]:
        return [frame.shows(PATH, self.page, "Show the execution log")]

    async def page(self, visit: Visit) -> Answer:
        asked = dict(visit.pairs())
        line = read_line(asked.get("q", ""), visit.now, LOG)
        if line.id and not line.faults:
            return see_other(f"/ui/tasks/{line.id}")
        page, told = LogPage([]), [told_fault(fault) for fault in line.faults]
        if not told:
            given = {"limit": _ROWS} | line.query | {name: asked[name] for name in ("cursor",) if name in asked}
            try:
                page = await self._journal.page(read_query(visit.scope, given, self._journal.zone))
            except InvalidRequest as error:
                told = [told_fault(fault) for fault in error.faults]
        entries = tries(page.entries)
        chosen, rest = line.query.get("state", ""), {k: v for k, v in line.query.items() if k != "state"}
        longest = max((entry.duration for entry in entries), default=0) or 1
        return visit.page(
            "log.html",
            "Log",
            q=asked.get("q", ""),
            search_faults=told,
            tabs=[(word, written(({"state": word} if word else {}) | rest, LOG), word == chosen) for word in _TABS],
            entries=entries,
            bars=[_bar(entry, longest) for entry in entries],
            next=cursor_of(page.next) if page.next is not None else None,
            page_note=f"A page looks at {LOOKED_AT_MAX:,} attempts at most.".replace(",", " ") if line.query else "",
            live=0 if "cursor" in asked else 5,
        )


def tries(entries: Sequence[LogEntry]) -> list[LogEntryView]:
    """Entries of the log as the API shows them."""
    return [entry_view(entry) for entry in entries]


def _bar(entry: LogEntryView, longest: int) -> int:
    """How long the bar of its duration is, in pixels."""
    return max(1, round(entry.duration / longest * _BAR_PIXELS))
