"""What the store is asked about what was done by hand, beside what `ports` has; see there for what holds of all."""

from typing import Final, Protocol

import msgspec

from tasks_server.domain.audit import Act

LOOKED_MAX: Final = 1_000
"""How many entries a page looks at, at most."""
NEWEST: Final = 2**63 - 1


class ActQuery(msgspec.Struct, frozen=True):
    """Which entries, the newest first. `owner` None: any. `since` is inside, `until` is not. `before` is the `next` of
    the page before.
    """

    owner: str | None
    limit: int = 10
    by: str | None = None
    kinds: frozenset[str] | None = None
    actions: frozenset[str] | None = None
    subject: str | None = None
    who: str | None = None
    since: int = 0
    until: int = NEWEST
    before: int = NEWEST

    def fits(self, act: Act) -> bool:
        """Whether an entry is asked for; instants aside."""
        return (
            (self.by is None or act.actor.by == self.by)
            and (self.kinds is None or act.kind in self.kinds)
            and (self.actions is None or act.action in self.actions)
            and (self.subject is None or act.subject == self.subject)
            and (self.who is None or act.actor.who == self.who)
        )


class Entry(msgspec.Struct, frozen=True):
    """An act as it was recorded. `owner_name`: None when the owner is gone, or it concerned none."""

    seq: int
    act: Act
    owner_name: str | None


class ActPage(msgspec.Struct, frozen=True):
    """Some entries, and where the next page begins. It is a bounded piece of work: it may be short although there is a
    next one.
    """

    entries: list[Entry]
    next: int | None = None


class Auditing(Protocol):
    """Asked by whoever looks at what was done by hand, and by the duty that forgets it. What is done is recorded in the
    transaction that does it: see `acting`.
    """

    async def acts(self, query: ActQuery) -> ActPage:
        """One page, the newest first."""
        ...

    async def record(self, act: Act) -> None:
        """Records what was done already."""
        ...

    async def prune_acts(self, before: int, limit: int) -> int:
        """Forgets what was done before `before`, at most so many. How many there were."""
        ...
