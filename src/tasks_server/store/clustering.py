"""Which processes work on the store, beside what `ports` has; see there for what holds of all of it."""

from typing import Protocol

import msgspec


class Node(msgspec.Struct, frozen=True):
    """A process that works on the store. None: this adapter does not know. Instants by the store's clock."""

    number: int
    host: str
    pid: int | None
    role: str
    version: str | None
    started_at: int | None
    seen_at: int | None
    alive: bool


class Clustering(Protocol):
    """Asked by the operator."""

    async def nodes(self) -> list[Node]:
        """The processes that work on the store, by number; those that died a while ago may be among them."""
        ...
