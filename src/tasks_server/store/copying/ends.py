"""What is asked of the two databases between which all moves. An adapter answers for its kind."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from tasks_server.store.copying.progress import Progress
from tasks_server.store.copying.shapes import Row, Shape


class Source(Protocol):
    """A database that is read, as it was at one instant."""

    shown: str
    """What it is, for people."""
    identity: bytes
    """The same for the same database, whenever it is asked."""

    def counts(self) -> dict[str, int]:
        """How many rows there are of each shape that moves."""
        ...

    def rows(self, shape: Shape, after: Sequence[Any] | None, now: int) -> Iterator[Row]:
        """The rows behind the key `after`, in order of their keys. What is under way ends at `now`."""
        ...

    def changed(self) -> bool:
        """Whether anybody wrote since that instant, as far as it can be known. Nothing can be read after it."""
        ...

    def close(self) -> None: ...


class Target(Protocol):
    """A database that is filled, each step in one transaction together with the progress."""

    shown: str
    identity: bytes

    def fit(self, shape: Shape, row: Row) -> Row:
        """The row as this kind of database can keep it."""
        ...

    def progress(self) -> Progress | None:
        """How far a copy into it has come."""
        ...

    def held(self) -> dict[str, int]:
        """How many owners and tasks it holds, those that are none left out."""
        ...

    def begin(self, progress: Progress, *, replace: bool) -> None:
        """The first step. `replace`: what it holds goes."""
        ...

    def write(self, shape: Shape, rows: Sequence[Row], progress: Progress) -> None: ...

    def note(self, progress: Progress) -> None:
        """Keeps the progress, no more."""
        ...

    def rows(self, shape: Shape) -> Iterator[Row]:
        """What arrived."""
        ...

    def finish(self, progress: Progress) -> None:
        """The last step: counts what there is, and lets new rows come behind those that arrived."""
        ...

    def close(self) -> None: ...
