"""What a type checker says of the two clients. It is never run: mypy reads it, and `assert_type` is the test."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import assert_type

import psycopg

from tasks_server import Context, handlers
from tasks_server.client import AsyncClient, Client, Config, TaskFields
from tasks_server.client.outbox import Drained, Outbox
from tasks_server.client.results import Attempt, Batch, ListedTask, NewTask, Owner, Schedule, TaskDetail


def of_the_client(client: Client) -> None:
    assert_type(client.tasks.register(url="https://shop.test/", delay=timedelta(minutes=5)), NewTask)
    assert_type(client.tasks.register(handler="send-email", payload={"to": 7}, idempotency_key="order-7"), NewTask)
    assert_type(client.tasks.register_batch([{"url": "https://shop.test/", "lane": "slow"}]), Batch)
    assert_type(client.tasks.get("id"), TaskDetail)
    assert_type(client.tasks.list(state=["ERROR", "REVOKED"], metadata={"order": "7"}), Iterator[ListedTask])
    assert_type(client.tasks.attempts("id"), list[Attempt])
    assert_type(client.tasks.wait("id", timeout=timedelta(seconds=5)), TaskDetail)
    assert_type(client.schedules.put("daily", cron="@daily", task={"url": "https://shop.test/"}), Schedule)
    assert_type(client.owners.get("small-shop"), Owner)
    config: Config = {"retry": 5, "retryBackoff": "exponential", "expireAt": datetime(2030, 1, 1, tzinfo=UTC)}
    task: TaskFields = {"url": "https://shop.test/", "config": config}
    client.tasks.register(**task)


async def of_the_async_client(client: AsyncClient) -> None:
    assert_type(await client.tasks.register(url="https://shop.test/"), NewTask)
    assert_type(client.tasks.list(), AsyncIterator[ListedTask])
    client.tasks.delete("id")  # type: ignore[unused-coroutine]  # nobody awaits it


def what_is_refused(client: Client) -> None:
    client.tasks.register(ulr="https://shop.test/")  # type: ignore[call-arg]  # url
    client.tasks.register(url=7)  # type: ignore[arg-type]  # a text
    client.tasks.get()  # type: ignore[call-arg]  # of which id
    client.tasks.list(state="RUNING")  # type: ignore[arg-type]  # RUNNING
    client.tasks.register_batch([{"url": "https://shop.test/", "dely": 5}])  # type: ignore[typeddict-unknown-key]  # delay
    client.tasks.register(url="https://shop.test/", config={"retryBackof": "fixed"})  # type: ignore[arg-type]  # retryBackoff


def of_the_outbox(client: Client, one: sqlite3.Connection, other: psycopg.Connection) -> None:
    assert_type(Outbox(sqlite3).add(one, url="https://shop.test/", delay="1h"), str)
    assert_type(Outbox(psycopg).drain(other, client), Drained)


@dataclass
class Email:
    to: str


@handlers.register("typed-email", timeout=5)
async def send_email(payload: Email, context: Context) -> dict[str, str]:
    return {"sent": payload.to}


@handlers.register("typed-context-first")
def ship(context: Context, order: int) -> None: ...


@handlers.register("typed-bare")
def tidy() -> None: ...


@handlers.register("typed-context-alone")
def look(context: Context) -> None: ...


async def of_handlers(client: Client, other: AsyncClient) -> None:
    assert_type(send_email.enqueue(Email("a"), delay="5m", client=client), NewTask)
    assert_type(await send_email.enqueue_async(Email("a"), retry=3, client=other, idempotency_key="a"), NewTask)
    assert_type(await send_email(Email("a"), Context()), dict[str, str])
    ship.enqueue(7, lane="slow")
    ship(Context(), 7)
    tidy.enqueue(at=datetime(2030, 1, 1, tzinfo=UTC))
    look.enqueue()
    send_email.enqueue("a")  # type: ignore[arg-type]  # an Email
    send_email.enqueue()  # type: ignore[call-arg]  # which Email
    send_email.enqueue(Email("a"), dely="5m")  # type: ignore[call-arg]  # delay
    ship.enqueue(Context())  # type: ignore[arg-type]  # the order
    tidy.enqueue(7)  # type: ignore[arg-type,call-arg]  # it takes none
    look.enqueue(7)  # type: ignore[arg-type,call-arg]  # it takes none
    await send_email.enqueue_async(Email("a"), client=client)  # type: ignore[arg-type]  # the AsyncClient
