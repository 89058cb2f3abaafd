"""Tasks that are enqueued together with a database transaction of your own: stored in a table of your database, and
sent once the transaction is committed. Works over any DB-API connection (PEP 249).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Unpack
from uuid import uuid4

import msgspec

from tasks_server.client.bodies import task_body
from tasks_server.client.calls.tasks import registration
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
class Drained:
    """How many tasks were sent, and how many were refused for good: they stay in the table, which says why."""

    sent: int
    refused: int


class Outbox:
    """The table, over connections of `driver` (the module: `sqlite3`, `psycopg` …). Make it once with the DDL of this
    module, `POSTGRESQL` or `SQLITE`; `create` fills in its name.
    """

    def __init__(self, driver: Driver, table: str = "tasks_outbox") -> None:
        if driver.paramstyle not in _PLACES:
            raise ValueError(f"paramstyle {driver.paramstyle} is not known; there are {', '.join(_PLACES)}")
        if not _NAME.fullmatch(table):
            raise ValueError(f"{table!r} is no name of a table")
        place = _PLACES[driver.paramstyle]
        self.table = table
        self._insert = f"insert into {table} (idempotency_key, body) values ({place}, {place})"
        self._select = f"select id, idempotency_key, body from {table} where refused is null order by id limit {place}"
        self._refuse = f"update {table} set refused = {place} where id = {place}"
        self._delete = f"delete from {table} where id = {place}"

    def create(self, connection: Connection, ddl: str) -> None:
        """Makes the table, unless it is there; commits nothing."""
        _execute(connection, ddl.format(table=self.table))

    def add(self, connection: Connection, *, idempotency_key: str | None = None, **task: Unpack[TaskFields]) -> str:
        """Stores a task within the transaction of `connection`, and commits nothing; gives its idempotency key. Takes
        what `tasks.register` takes. A `delay` counts from when the task is sent; an `at` that has passed by then runs
        at once.
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
        return self._insert, (key, to_json(body).decode())

    def drain(self, connection: Connection, client: Client) -> Drained:
        """Sends all that is committed, oldest first, and takes each task out once the server has it. Commits after
        each: `connection` is for this alone. What fails for now is raised, and the rest stays for the next time; what
        the server will never take is marked and left out from then on.
        """
        sent = refused = 0
        while waiting := self._waiting(connection):
            for number, key, body in waiting:
                try:
                    client.play(registration(msgspec.Raw(body.encode()), key).script(client.core))
                except _LASTING as error:
                    _execute(connection, self._refuse, str(error), number)
                    refused += 1
                else:
                    _execute(connection, self._delete, number)
                    sent += 1
                connection.commit()
        return Drained(sent, refused)

    def _waiting(self, connection: Connection) -> Sequence[Any]:
        """The next tasks to send. Ends the transaction: none is open while the server is asked."""
        cursor: Cursor = connection.cursor()
        try:
            cursor.execute(self._select, (_LOOK,))
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
