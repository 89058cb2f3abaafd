"""What a type checker says of the two clients. It is never run: mypy reads it, and `assert_type` is the test."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import assert_type

import psycopg

from tasks_server.client import AsyncClient, Client, Config, TaskFields
from tasks_server.client.outbox import Drained, Outbox
from tasks_server.client.results import Attempt, Batch, ListedTask, Owner, Schedule, Task, TaskDetail


def of_the_client(client: Client) -> None:
    assert_type(client.tasks.register(url="https://shop.test/", delay=timedelta(minutes=5)), Task)
    assert_type(client.tasks.register(handler="send-email", payload={"to": 7}, idempotency_key="order-7"), Task)
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
    assert_type(await client.tasks.register(url="https://shop.test/"), Task)
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
