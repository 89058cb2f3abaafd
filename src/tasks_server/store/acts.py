"""How entries of the audit record are read, as far as all adapters do it alike."""

from collections.abc import Sequence
from typing import Any

from tasks_server.domain.audit import Act, Actor
from tasks_server.store.auditing import LOOKED_MAX, ActPage, ActQuery, Entry


def entry_of(row: Sequence[Any]) -> Entry:
    """From the columns seq, at, asked_by, via, who, owner, the owner's name, kind, action, subject, detail."""
    seq, at, by, via, who, owner, name, kind, action, subject, detail = row
    return Entry(seq, Act(at, Actor(by, via, who), kind, action, owner, subject, detail), name)


def page_of(query: ActQuery, rows: Sequence[Sequence[Any]]) -> ActPage:
    """The page, from the entries that were looked at, the newest first: `LOOKED_MAX` of them, or all there are."""
    found: list[Entry] = []
    for row in rows:
        if row[1] < query.since:
            return ActPage(found)
        entry = entry_of(row)
        if query.fits(entry.act):
            found.append(entry)
            if len(found) == query.limit:
                return ActPage(found, entry.seq)
    return ActPage(found, rows[-1][0] if len(rows) == LOOKED_MAX else None)
