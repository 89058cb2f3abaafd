"""A thread with a connection of its own, made when it is needed and made anew when it was lost."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import psycopg

from tasks_server.domain.errors import Busy, StoreError, Unavailable
from tasks_server.store.batching import Arrivals, Batch, Job, Turns, Worker
from tasks_server.store.postgres.link import Conflicted, Connection, Link, Lost, ended, translate
from tasks_server.store.searching import SEARCH_SECONDS, too_long

_TRIES: Final = 3
"""How often a batch is tried when the database says that its transactions got into each other's way."""


class Session(Worker):
    """Does jobs, those of one batch function together. A batch function makes its own transactions: each statement
    is one by itself unless it says otherwise.

    `on_failure` is told when a transaction was undone, so that nothing cached in it outlives it. `again` says, by batch
    function, which one does what is left of items whose connection was lost, and answers for all of them.
    """

    def __init__(
        self,
        name: str,
        link: Link,
        *,
        on_failure: Callable[[], None] = lambda: None,
        again: Mapping[Batch, Batch] | None = None,
        jobs: Arrivals | Turns | None = None,
    ) -> None:
        super().__init__(f"postgres-{name}", jobs)
        self._searches = isinstance(jobs, Turns)
        self._link = link
        self._on_failure = on_failure
        self._again = again or {}
        self._connection: Connection | None = None

    def perform(self, jobs: list[Job]) -> list[Any]:
        groups: dict[Batch, list[int]] = {}
        for index, job in enumerate(jobs):
            groups.setdefault(job.batch, []).append(index)
        answers: list[Any] = [None] * len(jobs)
        for batch, indexes in groups.items():
            done = self._answers(batch, [jobs[index].item for index in indexes])
            for index, answer in zip(indexes, done, strict=True):
                answers[index] = answer
        return answers

    def finish(self) -> None:
        self._drop()

    def _answers(self, batch: Batch, items: list[Any]) -> Sequence[Any]:
        """One answer for each item; an exception is an answer too."""
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                return self._attempt(batch, items)
            except Lost as error:
                return self._after_loss(batch, items, error)
            except (Unavailable, Busy) as error:
                if isinstance(error, Conflicted) and not last:
                    continue
                return [error] * len(items)
            except Exception as error:
                if len(items) == 1:
                    return [error]
                # One of them is at fault, and nobody knows which: each is done by itself.
                return [self._answers(batch, [item])[0] for item in items]
        raise AssertionError("unreachable")

    def _attempt(self, batch: Batch, items: list[Any]) -> Sequence[Any]:
        connection = self._open()
        try:
            return batch(connection, items)
        except Exception as error:
            self._on_failure()
            if connection.closed or connection.broken:
                self._drop()
                if not isinstance(error, StoreError):
                    raise Lost.of(self._link.where) from error
            if self._searches and isinstance(error, psycopg.errors.QueryCanceled):
                raise too_long() from error
            raise translate(error, self._link.where) from error

    def _after_loss(self, batch: Batch, items: list[Any], error: Lost) -> Sequence[Any]:
        """Does with a new connection what was not done, where a batch function can tell; else all get the error, and so
        they do when that fails, too: it says nothing of what became of the first try.
        """
        self._drop()
        again = self._again.get(batch)
        if again is not None:
            with contextlib.suppress(Exception):
                return self._attempt(again, items)
        return [error] * len(items)

    def _open(self) -> Connection:
        if self._connection is not None and ended(self._connection):
            self._drop()
        if self._connection is None:
            self._connection = self._link.connect()
            if self._searches and not self._link.pooled:  # a pooler would give the setting to others
                self._connection.execute(f"SET statement_timeout = {round(SEARCH_SECONDS * 1_000)}".encode())
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()
