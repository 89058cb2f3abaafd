"""Lists of tasks: pages, orders, filters."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.store.sqlite.store import SqliteStore

from .conftest import ADMIN_KEY, Api, task, worked
from .test_tasks import registered


async def walked(client: httpx.AsyncClient, path: str) -> list[list[str]]:
    """The ids of each page, following the links."""
    pages = []
    while path:
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        pages.append([one["id"] for one in answer.json()])
        path = answer.links.get("next", {}).get("url", "")
    return pages


async def some(client: httpx.AsyncClient, api: Api, count: int = 5) -> list[str]:
    """Ids of tasks in order of creation; later ones are due earlier."""
    made = []
    for number in range(count):
        api.clock.advance(1)
        made.append((await registered(client, executionDelay=(count - number) * 60_000))["id"])
    return made


async def test_a_listed_task_has_the_contracts_fields(client: httpx.AsyncClient) -> None:
    made = await registered(client)
    (listed,) = (await client.get("/v1/queues")).json()
    head = {key: made[key] for key in made.keys() - {"response", "metadata"}}
    what = {"method": "POST", "url": "https://target.test/hook", "handler": None, "lane": "default", "metadata": None}
    assert listed == head | what


async def test_a_list_says_what_each_task_is_without_its_secrets(client: httpx.AsyncClient) -> None:
    secret = {"url": "https://target.test/hook?api_key=t0p&a=1", "method": "PUT"}
    await client.post("/v1/queues/register", json={"httpRequest": secret, "metadata": {"order": "42", "token": "t0p"}})
    body = {"handler": {"name": "default", "payload": {"a": 1}}, "config": {"lane": "mail"}}
    await client.post("/v1/queues/register", json=body)
    request, handler = (await client.get("/v1/queues")).json()
    assert (request["method"], request["url"]) == ("PUT", "https://target.test/hook?api_key=***&a=1")
    assert request["metadata"] == {"order": "42", "token": "***"}
    assert (handler["handler"], handler["method"], handler["url"], handler["lane"]) == ("default", None, None, "mail")


@pytest.mark.parametrize("order", ["createdAt", "estimateEndAt", "estimateExecutionAt"])
@pytest.mark.parametrize("sort", ["asc", "desc"])
async def test_pages_follow_each_other_without_gap_or_repeat(
    client: httpx.AsyncClient, api: Api, order: str, sort: str
) -> None:
    made = await some(client, api)
    pages = await walked(client, f"/v1/queues?limit=2&order={order}&sort={sort}")
    expected = made if (order == "estimateExecutionAt") == (sort == "desc") else made[::-1]
    assert [len(page) for page in pages] == [2, 2, 1]
    seen = [one for page in pages for one in page]
    assert sorted(seen) == sorted(made)
    if order != "estimateEndAt":  # all are 0
        assert seen == expected


async def test_the_link_keeps_the_filters(client: httpx.AsyncClient, api: Api) -> None:
    for number in range(4):
        body = {**task(lane=f"lane{number % 2}"), "metadata": {"a b".replace(" ", "."): "x&y=z"}}
        assert (await client.post("/v1/queues/register", json=body)).status_code == 201
    pages = await walked(client, "/v1/queues?limit=1&lane=lane0&metadata.a.b=x%26y%3Dz&state=RUNNING")
    assert [len(page) for page in pages if page] == [1, 1]


async def test_offset_leaves_out(client: httpx.AsyncClient, api: Api) -> None:
    made = await some(client, api)
    (page,) = await walked(client, "/v1/queues?offset=3&sort=asc")
    assert page == made[3:]


async def test_filters(client: httpx.AsyncClient, api: Api) -> None:
    done = (await registered(client))["id"]
    api.clock.advance(5)
    await worked(api.store, api.clock, Outcome(OutcomeKind.SUCCESS, 200))
    paused = (await registered(client, executionDelay="1h"))["id"]
    await client.patch(f"/v1/queues/{paused}/pause")
    waiting = (await registered(client, executionDelay="1h", lane="mail"))["id"]

    async def found(query: str) -> set[str]:
        return {one["id"] for one in (await client.get(f"/v1/queues?{query}")).json()}

    assert await found("state=SUCCESS") == {done}
    assert await found("state=PAUSED,RUNNING") == {paused, waiting}
    assert await found("state=ERROR") == set()
    assert await found("lane=mail") == {waiting}
    assert await found("lane=nobodys") == set()
    assert await found("metadata.order=17") == set()


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("limit=0", ["limit"]),
        ("limit=1001", ["limit"]),
        ("limit=ten&offset=-1&order=size&sort=up&state=LOST", ["order", "sort", "limit", "offset", "state"]),
        ("limit=1&limit=2", ["limit"]),
        ("limt=1&colour=red", ["limt", "colour"]),
        ("foo=1&limit=0&state=BOGUS", ["foo", "limit", "state"]),
        ("lane=" + "x" * 65, ["lane"]),
        ("lane=", ["lane"]),
        ("metadata.=x", ["metadata."]),
        ("metadata.a=", ["metadata.a"]),
        ("cursor=nonsense", ["cursor"]),
        ("cursor=WyJjcmVhdGVkIixmYWxzZSwxLDFd&offset=1", ["offset"]),
        ("cursor=WyJjcmVhdGVkIixmYWxzZSwxLDFd&sort=desc", ["cursor"]),
        ("cursor=WyJjcmVhdGVkIixmYWxzZSwxLDk5OTk5OTk5OTk5OTk5OTk5OTk5OTldCg", ["cursor"]),
    ],
)
async def test_queries_that_are_wrong(client: httpx.AsyncClient, query: str, fields: list[str]) -> None:
    answer = await client.get(f"/v1/queues?{query}")
    assert answer.status_code == 400, answer.text
    assert [fault["field"] for fault in answer.json()["errors"]] == [f"query.{field}" for field in fields]


async def test_a_wrong_name_in_the_query_is_corrected(client: httpx.AsyncClient) -> None:
    errors: Any = (await client.get("/v1/queues?limt=1")).json()["errors"]
    assert errors[0]["message"].endswith("did you mean limit?")


async def test_the_tasks_of_a_schedule(client: httpx.AsyncClient, api: Api) -> None:
    body = {"name": "nightly", "every": "1h", "task": task()}
    schedule = (await client.post("/v1/schedules", json=body)).json()["id"]
    await registered(client)
    made = [(await client.post("/v1/schedules/nightly/run")).json()["id"] for _ in range(3)]
    assert await walked(client, f"/v1/queues?schedule={schedule}&limit=2") == [made[:2], made[2:]]
    assert await walked(client, f"/v1/queues?schedule={schedule}&sort=desc&order=estimateEndAt") == [made[::-1]]
    assert await walked(client, f"/v1/queues?schedule={'0' * 24}") == [[]]
    assert await walked(client, "/v1/queues?schedule=nightly") == [made]
    answer = await client.get("/v1/queues?schedule=weekly")
    assert [fault["field"] for fault in answer.json()["errors"]] == ["query.schedule"]
    answer = await api.client(ADMIN_KEY).get("/v1/queues?schedule=nightly")
    assert [fault["field"] for fault in answer.json()["errors"]] == ["query.schedule"]
    assert await walked((await api.owner("other-shop"))[0], f"/v1/queues?schedule={schedule}") == [[]]


async def test_failures_by_status_and_by_when_they_ended(
    client: httpx.AsyncClient, store: SqliteStore, clock: ManualClock
) -> None:
    made: list[str] = []
    ends: list[int] = []
    for status in (503, 404, 500):
        made.append((await client.post("/v1/queues/register", json=task())).json()["id"])
        clock.advance(1_000)
        await worked(store, clock, Outcome(OutcomeKind.HTTP_ERROR, status_code=status, error="no"))
        ends.append(clock.now())
    refused = (await client.post("/v1/queues/register", json=task())).json()["id"]
    clock.advance(1_000)
    await worked(store, clock, Outcome(OutcomeKind.CONNECTION, error="refused"))
    waiting = (await client.post("/v1/queues/register", json=task(executionDelay=60_000))).json()["id"]
    iso = datetime.fromtimestamp(ends[1] / 1_000, UTC).isoformat()

    async def listed(query: str) -> list[str]:
        answer = await client.get(f"/v1/queues?{query}")
        assert answer.status_code == 200, answer.text
        return [entry["id"] for entry in answer.json()]

    assert await listed("statusCode=503") == made[:1]
    assert await listed("statusCode=5XX&state=ERROR&order=estimateEndAt&sort=desc") == [made[2], made[0]]
    assert await listed("statusCode=2xx") == []
    assert await listed("statusCode=0") == [refused, waiting]
    assert await listed("statusCode=0&state=ERROR") == [refused]
    assert await listed(f"endedSince={ends[1]}") == [*made[1:], refused]
    assert await listed(f"endedUntil={ends[1]}&order=estimateEndAt") == made[:1]
    assert await listed(f"endedSince={quote(iso)}&endedUntil={ends[2]}&limit=1") == [made[1]]
    assert waiting in await listed("")
    first = await client.get("/v1/queues?statusCode=5xx&order=estimateEndAt&limit=1")
    second = await client.get(first.links["next"]["url"])
    assert [entry["id"] for entry in (*first.json(), *second.json())] == [made[0], made[2]]
    refusal = await client.get("/v1/queues?statusCode=7xx&endedSince=soon&endedUntil=999999999999999")
    assert refusal.status_code == 400
    fields = [fault["field"] for fault in refusal.json()["errors"]]
    assert fields == ["query.statusCode", "query.endedSince", "query.endedUntil"]
