"""Tasks that are enqueued together with a database transaction of your own: stored in a table of your database, and
sent once the transaction is committed. Works over any DB-API connection (PEP 249).
"""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Unpack
from uuid import uuid4

import msgspec

from tasks_server.client.bodies import task_body
from tasks_server.client.calls.tasks import registration
from tasks_server.client.checking import check_task
from tasks_server.client.clients import Client
from tasks_server.client.errors import Conflict, InvalidRequest, TooLarge
from tasks_server.client.options import TaskFields
from tasks_server.client.protocol import check_key
from tasks_server.client.values import to_json

POSTGRESQL: Final = """create table if not exists {table} (
  id bigint generated always as identity primary key,
  idempotency_key text not null,
  body text not null,
  refused text
)"""
SQLITE: Final = """create table if not exists {table} (
  id integer primary key autoincrement,
  idempotency_key text not null,
  body text not null,
  refused text
)"""
_PLACES: Final = {"qmark": "?", "format": "%s", "pyformat": "%s"}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_LASTING: Final = (InvalidRequest, Conflict, TooLarge)
"""What the server would say again, however often it is asked."""
_LOOK: Final = 100
_BODY_BYTES_MAX: Final = 32_768
_LOGGER: Final = logging.getLogger("tasks_server.client.outbox")


class Cursor(Protocol):
    """As of PEP 249."""

    def execute(self, operation: str, parameters: Sequence[Any], /) -> object: ...
    def fetchall(self) -> Sequence[Any]: ...
    def close(self) -> object: ...


class Connection(Protocol):
    """As of PEP 249."""

    def cursor(self) -> Any: ...
    def commit(self) -> object: ...


class Driver(Protocol):
    """A module as of PEP 249: `sqlite3`, `psycopg` …"""

    paramstyle: str


@dataclass(frozen=True)
class Refusal:
    """A task that the server will never take as it is: its number in the table, its key, and why."""

    number: int
    idempotency_key: str
    reason: str


@dataclass(frozen=True)
class Drained:
    """How many tasks were sent, and how many were refused for good: they stay in the table, which says why. `refusals`
    has those of this time.
    """

    sent: int
    refused: int
    refusals: tuple[Refusal, ...] = field(default=(), repr=False, compare=False)


class Outbox:
    """The table, over connections of `driver` (the module: `sqlite3`, `psycopg` …). Make it once with the DDL of this
    module, `POSTGRESQL` or `SQLITE`; `create` fills in its name. `body_bytes_max`: the server's
    MAX_SIZE_BODY_REQUEST; None: whatever it is. `on_refused` is told of each task that the server refuses for good;
    the log is, too, as a warning.
    """

    def __init__(
        self,
        driver: Driver,
        table: str = "tasks_outbox",
        *,
        body_bytes_max: int | None = _BODY_BYTES_MAX,
        on_refused: Callable[[Refusal], object] | None = None,
    ) -> None:
        if driver.paramstyle not in _PLACES:
            raise ValueError(f"paramstyle {driver.paramstyle} is not known; there are {', '.join(_PLACES)}")
        if not _NAME.fullmatch(table):
            raise ValueError(f"{table!r} is no name of a table")
        place = _PLACES[driver.paramstyle]
        self._body_bytes_max = body_bytes_max
        self._on_refused = on_refused
        self.table = table
        self._insert = f"insert into {table} (idempotency_key, body) values ({place}, {place})"
        self._select = f"select id, idempotency_key, body from {table} where refused is null order by id limit {place}"
        self._refuse = f"update {table} set refused = {place} where id = {place}"
        self._refused = f"select id, idempotency_key, refused from {table} where refused is not null order by id"
        self._again = f"update {table} set refused = null where id = {place} and refused is not null"
        self._delete = f"delete from {table} where id = {place}"

    def create(self, connection: Connection, ddl: str) -> None:
        """Makes the table, unless it is there; commits nothing."""
        _execute(connection, ddl.format(table=self.table))

    def add(self, connection: Connection, *, idempotency_key: str | None = None, **task: Unpack[TaskFields]) -> str:
        """Stores a task within the transaction of `connection`, and commits nothing; gives its idempotency key. Takes
        what `tasks.register` takes. A `delay` counts from when the task is sent; an `at` that has passed by then runs
        at once. Raises `ValueError` or `TypeError` for a task that the server would never take, as far as that can be
        known here: so your transaction fails, not a `drain` later on.
        """
        statement, values = self.insert(idempotency_key=idempotency_key, **task)
        _execute(connection, statement, *values)
        return values[0]

    def insert(self, *, idempotency_key: str | None = None, **task: Unpack[TaskFields]) -> tuple[str, tuple[str, str]]:
        """The statement that `add` runs, and its values: for connections whose methods are awaited."""
        body = task_body(task)
        config = body.get("config") or {}
        if config.get("executeAt") is not None:
            body["config"] = {"executeImmediately": True, **config}
        key = uuid4().hex if idempotency_key is None else idempotency_key
        check_key(key)
        text = to_json(body)
        check_task(body, len(text), self._body_bytes_max)
        return self._insert, (key, text.decode())

    def refused(self, connection: Connection) -> list[Refusal]:
        """The tasks that the server refused for good, the oldest first. Ends the transaction."""
        return [Refusal(*row) for row in self._rows(connection, self._refused)]

    def send_again(self, connection: Connection, number: int) -> None:
        """Lets a task that was refused be sent by the next `drain`, once what stood against it is mended. Commits
        nothing.
        """
        _execute(connection, self._again, number)

    def drain(self, connection: Connection, client: Client) -> Drained:
        """Sends all that is committed, oldest first, and takes each task out once the server has it. Commits after
        each: `connection` is for this alone. What fails for now is raised, and the rest stays for the next time; what
        the server will never take is marked and left out from then on.
        """
        sent = 0
        refusals: list[Refusal] = []
        while waiting := self._waiting(connection):
            for number, key, body in waiting:
                try:
                    client.play(registration(msgspec.Raw(body.encode()), key).script(client.core))
                except _LASTING as error:
                    _execute(connection, self._refuse, str(error), number)
                    refusals.append(Refusal(number, key, str(error)))
                else:
                    _execute(connection, self._delete, number)
                    sent += 1
                connection.commit()
                if refusals and refusals[-1].number == number:
                    self._tell(refusals[-1])
        return Drained(sent, len(refusals), tuple(refusals))

    def _tell(self, refusal: Refusal) -> None:
        _LOGGER.warning(
            "task %s of %s (row %d) was refused for good and is not sent again: %s",
            refusal.idempotency_key, self.table, refusal.number, refusal.reason,
        )  # fmt: skip
        if self._on_refused is not None:
            self._on_refused(refusal)

    def _waiting(self, connection: Connection) -> Sequence[Any]:
        """The next tasks to send. Ends the transaction: none is open while the server is asked."""
        return self._rows(connection, self._select, _LOOK)

    @staticmethod
    def _rows(connection: Connection, statement: str, *values: object) -> Sequence[Any]:
        cursor: Cursor = connection.cursor()
        try:
            cursor.execute(statement, values)
            return cursor.fetchall()
        finally:
            cursor.close()
            connection.commit()


def _execute(connection: Connection, statement: str, *values: object) -> None:
    cursor: Cursor = connection.cursor()
    try:
        cursor.execute(statement, values)
    finally:
        cursor.close()
