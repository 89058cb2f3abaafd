"""What the store is asked about the execution log, beside what `ports` has; and what both adapters do alike with it.

The log has one entry for each recorded attempt, the newest end first. A page is the work of a bounded number of index
entries: those that were looked at may all be of no interest, and then the page is short or empty and says where to
go on.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

import msgspec

from tasks_server.domain import limits
from tasks_server.domain.attempt import Attempt, OutcomeKind
from tasks_server.domain.task import HANDLER_MARK
from tasks_server.store.attempts import plain_attempt, with_facts
from tasks_server.store.sealing import Sealer

Key = tuple[int, int, int]
"""Where an entry stands in the log: when the attempt ended, the adapter's handle of the task, the attempt's number."""

LOOKED_AT_MAX: Final = 5_000
"""Index entries that one page looks at when a filter leaves many of them out."""
STEP: Final = 500
"""Index entries that are read at once when a filter may leave some of them out."""
STEPS_MAX: Final = 32
"""How often one page reads."""
_SPAN_GROWTH: Final = 8
FOREVER: Final = 2**62
"""An instant after all others."""


class LogQuery(msgspec.Struct, frozen=True):
    """Which attempts to list. `owner` None: of all (the operator). `since` and `until` bound when they ended, the
    latter exclusively. `statuses` are ranges, both ends included. `target` is a host with or without its port, or the
    mark and the name of a handler. `after` is the `next` of the page before.
    """

    owner: str | None
    limit: int = 10
    outcomes: frozenset[OutcomeKind] | None = None
    statuses: tuple[tuple[int, int], ...] | None = None
    target: str | None = None
    lane: str | None = None
    schedule: str | None = None
    task: str | None = None
    since: int = 0
    until: int = FOREVER
    after: Key | None = None

    @property
    def filters(self) -> bool:
        """Whether entries that are looked at may be left out, but for when they ended."""
        wanted = (self.outcomes, self.statuses, self.target, self.lane, self.schedule)
        return any(one is not None for one in wanted)

    @property
    def step(self) -> int:
        """How many entries to read at once: one more than are wanted tells whether there are more."""
        return max(STEP, self.limit + 1) if self.filters else self.limit + 1

    @property
    def before(self) -> Key:
        """Where the page begins: with the first entry below this."""
        end = (self.until, 0, 0)
        return end if self.after is None else min(self.after, end)

    def wants(self, entry: "LogEntry") -> bool:
        """Whether the entry passes the filters."""
        return (
            (self.outcomes is None or entry.attempt.outcome in self.outcomes)
            and (self.statuses is None or any(a <= entry.attempt.status_code <= b for a, b in self.statuses))
            and (self.lane is None or entry.lane == self.lane)
            and (self.schedule is None or entry.schedule == self.schedule)
            and (self.target is None or self.target in (entry.target, host_of(entry.target)))
        )


class LogEntry(msgspec.Struct):
    """One attempt, without its response, and what it was an attempt of. `fire_at` is 0 for a task that no schedule
    made.
    """

    task: str
    owner: str
    lane: str
    target: str
    schedule: str | None
    fire_at: int
    attempt: Attempt


class LogPage(msgspec.Struct, frozen=True):
    """Some entries, and where the next page begins (None: there is none). There may be a next page after one that is
    short or empty: it was given up after `LOOKED_AT_MAX` entries.
    """

    entries: list[LogEntry]
    next: Key | None = None


class Journaling(Protocol):
    """Asked by whoever shows the execution log."""

    async def log(self, query: LogQuery) -> LogPage:
        """One page of the log, the newest end first. It costs the same however deep it lies."""
        ...


# What both adapters do alike

Found = tuple[Key, LogEntry | None, bytes | None]
"""An entry that was looked at, None when its task is gone; and the sealed facts of its attempt."""
Step = tuple[Sequence[Found], Key | None]
"""Entries in the order of the log, and where those after them begin (None: these were the last)."""


def gather(query: LogQuery, steps: Iterable[Step], sealer: Sealer) -> LogPage:
    """A page from what was looked at, step by step, until it is full, all was seen, or it was enough."""
    entries: list[LogEntry] = []
    looked_at = 0
    last = query.before
    for number, (found, rest) in enumerate(steps, start=1):
        for key, entry, facts in found:
            if entry is not None and query.wants(entry):
                if len(entries) == query.limit:  # there is one more than fit
                    return LogPage(entries, last)
                with_facts(entry.attempt, facts, entry.task, sealer)
                entries.append(entry)
                last = key
        if rest is None:
            break
        if len(entries) == query.limit and query.filters:  # without, the next step tells whether there is more
            return LogPage(entries, last)
        looked_at += len(found)
        if looked_at >= LOOKED_AT_MAX or number >= STEPS_MAX:
            return LogPage(entries, last if len(entries) == query.limit else rest)
    return LogPage(entries)


def steps_of_task(query: LogQuery, read: Callable[[int], list[Found]]) -> Iterator[Step]:
    """The attempts of one task: as `read` gives them below a number, which is the order in which they ended."""
    number = query.before[2] or FOREVER
    while True:
        found = read(number)
        wanted = [each for each in found if query.since <= each[0][0] < query.until]
        if len(found) < query.step or found[-1][0][0] < query.since:
            yield wanted, None
            return
        number = found[-1][0][2]
        yield wanted, found[-1][0]


class Spans:
    """Walks the log of all owners, for which there is no index: by spans of time, each read of every owner and sorted.
    A span is as long as brings enough entries at once, and no more than that.

    `newest` tells when the newest attempt of a span ended; `read` gives at most so many of its entries in any order.
    A span includes its beginning and not its end.
    """

    def __init__(
        self,
        newest: Callable[[int, int], int | None],
        read: Callable[[int, int, int], list[Found]],
        wanted: int,
    ) -> None:
        self._newest = newest
        self._read = read
        self._wanted = 2 * wanted
        self._length = limits.SECOND_MS

    def steps(self, before: Key, since: int) -> Iterator[Step]:
        """What lies below a key, down to an instant."""
        while True:
            newest = self._newest(since, before[0] + (1 if before[1] else 0))
            if newest is None:
                yield [], None
                return
            begin, found = self._span(newest, since)
            below = sorted((each for each in found if each[0] < before), key=_key, reverse=True)
            before = (begin, 0, 0)
            yield below, before

    def _span(self, newest: int, since: int) -> tuple[int, list[Found]]:
        """Where a span up to `newest` begins, and all that is in it. What ended in one millisecond is read whole."""
        while True:
            begin = max(since, newest + 1 - self._length)
            most = self._wanted if begin < newest else FOREVER
            found = self._read(begin, newest + 1, most)
            if len(found) < most:
                if len(found) * _SPAN_GROWTH < self._wanted:
                    self._length *= _SPAN_GROWTH
                return begin, found
            self._length = max(1, self._length // _SPAN_GROWTH)


def _key(found: Found) -> Key:
    return found[0]


def entry_of(row: Sequence[Any]) -> Found:
    """From the columns ended_at, task, number, due_at, started_at, outcome, status_code, error, the task's id, the
    owner's id, the lane's name, the target, the schedule, the fire time, the attempt's facts.
    """
    key = (row[0], row[1], row[2])
    if row[8] is None:
        return key, None, None
    attempt = plain_attempt(row[2], row[3], row[4], row[0], *row[5:8])
    return key, LogEntry(row[8], row[9], row[10], row[11], row[12], row[13] or 0, attempt), row[14]


def host_of(target: str) -> str:
    """The host of a target without its port; a handler has none.

    >>> host_of("a.example:80"), host_of("[::1]:8080"), host_of("@send-email")
    ('a.example', '[::1]', '@send-email')
    """
    return target if target.startswith(HANDLER_MARK) else target.rpartition(":")[0] or target
