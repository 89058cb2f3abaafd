"""The outbox, over SQLite and PostgreSQL through their drivers as users have them."""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from tasks_server.client import ConnectionFailed, Refused, Retries
from tasks_server.client.outbox import POSTGRESQL, SQLITE, Drained, Outbox
from tests.client.scripted import TASK, Script, json, problem
from tests.postgres.databases import Databases

Connect = Callable[[], Any]


@pytest.fixture(params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path: Any, databases: Databases
) -> Iterator[tuple[ModuleType, str, Connect]]:
    """A driver, its DDL, and connections to one database."""
    opened: list[Any] = []
    url = databases.bare() if request.param == "postgres" else ""

    def connect() -> Any:
        connection = psycopg.connect(url) if url else sqlite3.connect(tmp_path / "shop.sqlite")
        opened.append(connection)
        return connection

    yield (psycopg, POSTGRESQL, connect) if url else (sqlite3, SQLITE, connect)
    for connection in opened:
        connection.close()


class Shop:
    """A business with its database, an outbox in it, and one connection for each of the two."""

    def __init__(self, driver: ModuleType, ddl: str, connect: Connect) -> None:
        self.outbox = Outbox(driver, "tasks_outbox")
        self.business, self.sending = connect(), connect()
        self.outbox.create(self.business, ddl)
        self.outbox.create(self.business, ddl)  # is there already
        self.business.commit()

    def rows(self) -> list[Any]:
        cursor = self.business.cursor()
        cursor.execute("select idempotency_key, refused from tasks_outbox order by id")
        rows = cursor.fetchall()
        self.business.commit()
        return [tuple(row) for row in rows]

    def drain(self, script: Script, connection: Any = None) -> Drained:
        with script.sync() as client:
            return self.outbox.drain(connection or self.sending, client)


@pytest.fixture
def shop(database: tuple[ModuleType, str, Connect]) -> Shop:
    return Shop(*database)


def test_a_task_is_sent_once_its_transaction_is_committed(shop: Shop) -> None:
    shop.outbox.add(shop.business, url="https://target.test/lost", idempotency_key="lost")
    shop.business.rollback()
    shop.outbox.add(shop.business, url="https://target.test/", data={"order": 7}, idempotency_key="order-7")
    assert shop.drain(Script([])) == Drained(0, 0), "what is not committed is not there"
    shop.business.commit()
    second = shop.outbox.add(shop.business, handler="send-email", payload={"order": 7})
    shop.business.commit()
    script = Script([json(201, TASK), json(201, TASK)])
    assert shop.drain(script) == Drained(2, 0)
    assert [request.headers["idempotency-key"] for request in script.requests] == ["order-7", second]
    assert [msgspec.json.decode(request.content) for request in script.requests] == [
        {"httpRequest": {"method": "POST", "url": "https://target.test/", "data": {"order": 7}}},
        {"handler": {"name": "send-email", "payload": {"order": 7}}},
    ]
    assert shop.rows() == []
    assert shop.drain(Script([])) == Drained(0, 0)


class Breaking:
    """A connection whose program dies before it takes anything out."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def cursor(self) -> Any:
        return _BreakingCursor(self._connection.cursor())

    def commit(self) -> None:
        self._connection.commit()


class _BreakingCursor:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.fetchall, self.close = cursor.fetchall, cursor.close

    def execute(self, operation: str, parameters: Any) -> None:
        if operation.startswith("delete"):
            raise KeyboardInterrupt
        self._cursor.execute(operation, parameters)


def test_after_a_crash_between_sending_and_taking_out_the_same_is_sent_under_the_same_key(shop: Shop) -> None:
    key = shop.outbox.add(shop.business, url="https://target.test/", data={"b": 1, "a": 2})
    shop.business.commit()
    script = Script([json(201, TASK), json(200, TASK)])
    with pytest.raises(KeyboardInterrupt):
        shop.drain(script, Breaking(shop.sending))
    assert shop.rows() == [(key, None)]
    assert shop.drain(script) == Drained(1, 0)
    first, second = script.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == key
    assert first.content == second.content
    assert shop.rows() == []


@pytest.mark.parametrize(
    ("outcome", "raised"), [(httpx.ConnectError("refused"), ConnectionFailed), (problem(422, "queue_full"), Refused)]
)
def test_what_fails_for_now_stays(shop: Shop, outcome: Any, raised: type[Exception]) -> None:
    for key in ("a", "b", "c"):
        shop.outbox.add(shop.business, url="https://target.test/", idempotency_key=key)
    shop.business.commit()
    with pytest.raises(raised):
        shop.drain(Script([json(201, TASK), outcome], Retries(deadline=0.0)))
    assert shop.rows() == [("b", None), ("c", None)]
    assert shop.drain(Script([json(201, TASK), json(201, TASK)])) == Drained(2, 0)


@pytest.mark.parametrize("code", [(400, "invalid_request"), (409, "idempotency_key_reused"), (413, "body_too_large")])
def test_what_is_never_taken_holds_nothing_up(shop: Shop, code: tuple[int, str]) -> None:
    for key in ("a", "b"):
        shop.outbox.add(shop.business, url="https://target.test/", idempotency_key=key)
    shop.business.commit()
    assert shop.drain(Script([problem(*code), json(201, TASK)])) == Drained(1, 1)
    ((key, refused),) = shop.rows()
    assert key == "a"
    assert refused.startswith(f"{code[0]} {code[1]}: ")
    assert shop.drain(Script([])) == Drained(0, 0)


def test_a_long_outbox_is_sent_to_its_end(shop: Shop) -> None:
    for number in range(205):
        shop.outbox.add(shop.business, url="https://target.test/", idempotency_key=f"order-{number}")
    shop.business.commit()
    script = Script([json(201, TASK) for _ in range(205)])
    assert shop.drain(script) == Drained(205, 0)
    assert [request.headers["idempotency-key"] for request in script.requests] == [f"order-{n}" for n in range(205)]


def test_an_instant_that_passes_in_the_outbox_is_not_refused(shop: Shop) -> None:
    shop.outbox.add(shop.business, url="https://target.test/", at=1_896_087_600_000)
    shop.outbox.add(shop.business, url="https://target.test/", at=5, config={"executeImmediately": False})
    shop.business.commit()
    script = Script([json(201, TASK), json(201, TASK)])
    shop.drain(script)
    sent = [msgspec.json.decode(request.content)["config"] for request in script.requests]
    assert [each["executeImmediately"] for each in sent] == [True, False]


async def test_connections_may_be_awaited(databases: Databases) -> None:
    url = databases.bare()
    outbox = Outbox(psycopg)
    async with await psycopg.AsyncConnection.connect(url) as business:
        await business.execute(POSTGRESQL.format(table=outbox.table))
        statement, values = outbox.insert(url="https://target.test/", idempotency_key="order-7")
        await business.execute(statement, values)
    script = Script([json(201, TASK)])
    with psycopg.connect(url) as sending, script.sync() as client:
        assert outbox.drain(sending, client) == Drained(1, 0)
    assert script.requests[0].headers["idempotency-key"] == "order-7"


def test_what_is_wrong_is_refused_before_it_is_stored(shop: Shop) -> None:
    with pytest.raises(TypeError):
        shop.outbox.add(shop.business, url="https://target.test/", dely=5)  # type: ignore[call-arg]  # delay
    with pytest.raises(TypeError):
        shop.outbox.add(shop.business)
    with pytest.raises(ValueError, match="an idempotency key"):
        shop.outbox.add(shop.business, url="https://target.test/", idempotency_key="")
    assert shop.rows() == []


def test_drivers_and_tables_that_will_not_do() -> None:
    class Oracle:
        paramstyle = "named"

    with pytest.raises(ValueError, match="paramstyle named is not known; there are qmark, format, pyformat"):
        Outbox(Oracle())
    with pytest.raises(ValueError, match="is no name of a table"):
        Outbox(sqlite3, "tasks; drop table orders")
    assert Outbox(sqlite3, "shop.tasks_outbox").table == "shop.tasks_outbox"


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"url": "ftp://shop.test/"}, r"httpRequest\.url must be an absolute http or https URL"),
        ({"url": "/hook"}, r"httpRequest\.url must be"),
        ({"url": "https://shop.test/", "method": "GTE"}, r"httpRequest\.method must be one of GET, .*, not 'GTE'"),
        ({"url": "https://shop.test/", "delay": "5"}, r"config\.executionDelay must be a time with a unit.*, not '5'"),
        ({"url": "https://shop.test/", "delay": 5}, "may mean seconds or milliseconds"),
        (
            {"url": "https://shop.test/", "retry": -1, "priority": 10},
            r"config\.priority .*; config\.retry must be 0 to",
        ),
        ({"url": "https://shop.test/", "lane": "no lane"}, r"config\.lane must be"),
        ({"url": "https://shop.test/", "config": {"retries": 3}}, r"config\.retries is no option"),
        ({"url": "https://shop.test/", "config": {"retryBackoff": "slow"}}, r"config\.retryBackoff must be fixed"),
        ({"url": "https://shop.test/", "metadata": {"a": 7}}, r"metadata\.a must be a text"),
        ({"url": "https://shop.test/", "metadata": {}}, "metadata must be a map of 1 to 8"),
        ({"handler": "send mail"}, r"handler\.name must be"),
        ({"url": "https://shop.test/", "data": "x" * 40_000}, "the task has 40[0-9]* bytes; 32768 are allowed"),
    ],
)
def test_what_the_server_would_never_take_is_refused_where_it_is_added(task: Any, said: str) -> None:
    connection = sqlite3.connect(":memory:")
    outbox = Outbox(sqlite3)
    outbox.create(connection, SQLITE)
    with pytest.raises(ValueError, match=said):
        outbox.add(connection, **task)
    assert connection.execute("select count(*) from tasks_outbox").fetchone() == (0,)
    connection.close()


def test_what_the_server_takes_is_added() -> None:
    every: Any = [
        {"url": "HTTPS://shop.test", "method": "patch", "delay": "1.5 hours 3min", "priority": 9, "retry": 0},
        {"url": "http://[::1]:9/", "timeout": timedelta(seconds=5), "lane": "a.b-$[1]", "metadata": {"a": "x" * 512}},
        {
            "http_request": {"url": "http://a.test", "method": "GET"},
            "config": {"retryBackoff": "Fixed", "retryAt": None},
        },
        {"handler": "send-email", "payload": {"to": "a"}},
    ]
    for task in every:
        Outbox(sqlite3).insert(**task)
    Outbox(sqlite3, body_bytes_max=None).insert(url="http://a.test", data="x" * 100_000)


def test_refused_tasks_are_told_about_and_can_be_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    connection, told = sqlite3.connect(":memory:"), []
    outbox = Outbox(sqlite3, on_refused=told.append)
    outbox.create(connection, SQLITE)
    key = outbox.add(connection, url="https://shop.test/")
    script = Script([problem(400, "invalid_request"), json(201, TASK)])
    with script.sync() as client:
        drained = outbox.drain(connection, client)
        assert (drained.sent, drained.refused) == (0, 1)
        (refusal,) = drained.refusals
        assert told == outbox.refused(connection) == [refusal]
        assert (refusal.idempotency_key, "invalid_request" in refusal.reason) == (key, True)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert key in caplog.text
        assert outbox.drain(connection, client) == Drained(0, 0)
        outbox.send_again(connection, refusal.number)
        assert outbox.drain(connection, client) == Drained(1, 0)
    assert outbox.refused(connection) == []
    connection.close()
