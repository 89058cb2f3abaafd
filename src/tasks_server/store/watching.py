"""What the store is asked by whoever watches it, beside what `ports` has; see there for what holds of all of it."""

from typing import Protocol

from tasks_server.domain.errors import StoreError


class Watching(Protocol):
    """Asked by who tells how the server fares."""

    def lost(self) -> StoreError | None:
        """Why nothing can be stored any more, as far as a look from outside tells; no transaction, no wait."""
        ...

    async def ready(self) -> None:
        """Returns when the store can be reached, has the schema of this version, and something can be stored now.
        Raises `StoreError`.
        """
        ...

    async def probe(self) -> None:
        """Returns when something can be stored now. Raises `StoreError`."""
        ...
