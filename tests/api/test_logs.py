"""The execution log: what entries say, filters, pages, and whose it is."""

from typing import Any

import httpx
import msgspec
import pytest

from tasks_server.domain import limits
from tasks_server.domain.attempt import Outcome, OutcomeKind, Redirected

from ..store.adapters import query
from .conftest import Api, task, worked
from .test_tasks import registered

SUCCESS = Outcome(OutcomeKind.SUCCESS, 200, response=b"kept apart")
TIMEOUT = Outcome(OutcomeKind.TIMEOUT, 408, "no answer within 30 s")
LOST = Outcome(OutcomeKind.LOST)


async def tried(client: httpx.AsyncClient, api: Api, outcome: Outcome = SUCCESS, **config: object) -> str:
    """The id of a new task with one attempt."""
    made = (await registered(client, **config))["id"]
    api.clock.advance(50)
    assert await worked(api.store, api.clock, outcome) == 1
    return str(made)


async def listed(client: httpx.AsyncClient, asked: str = "") -> list[dict[str, Any]]:
    """The entries of all pages, following the links."""
    path = f"/v1/logs{asked}"
    found: list[dict[str, Any]] = []
    while path:
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        found += answer.json()
        path = answer.links.get("next", {}).get("url", "")
    return found


async def test_an_entry_has_all_fields_and_no_response(client: httpx.AsyncClient, api: Api) -> None:
    led = Redirected(2, "POST", "https://elsewhere.test/")
    outcome = msgspec.structs.replace(TIMEOUT, response_truncated=True, redirected=led)
    made = await tried(client, api, outcome, lane="mail")
    (entry,) = await listed(client)
    owner = (await client.get("/v1/owners/small-shop")).json()["id"]
    due = api.clock.now() - 7 - 50 + 1
    assert entry == {
        "taskId": made,
        "ownerId": owner,
        "attempt": 1,
        "state": "ERROR",
        "outcome": "timeout",
        "statusCode": 408,
        "host": "target.test:443",
        "handler": None,
        "lane": "mail",
        "scheduleId": None,
        "fireAt": None,
        "dueAt": due,
        "startedAt": due + 49,
        "endedAt": api.clock.now(),
        "late": 49,
        "duration": 7,
        "error": "no answer within 30 s",
        "responseTruncated": True,
        "redirected": {"count": 2, "method": "POST", "url": "https://elsewhere.test/", "methodChanged": False},
    }


async def test_a_handlers_entry_names_the_handler_and_no_host(client: httpx.AsyncClient, api: Api) -> None:
    await tried(client, api)
    await query(api.store, "UPDATE task SET target = '@send-email'")
    (entry,) = await listed(client, "?handler=send-email")
    assert (entry["host"], entry["handler"]) == (None, "send-email")
    assert await listed(client, "?handler=other") == []


FILTERS = {
    "state=SUCCESS": "s",
    "state=ERROR": "t",
    "state=STOPPED": "l",
    "state=SUCCESS,lost": "sl",
    "state=timeout": "t",
    "statusCode=200": "s",
    "statusCode=4xx": "t",
    "statusCode=200,408": "st",
    "statusCode=5XX": "",
    "host=target.test": "stl",
    "host=TARGET.test:443": "stl",
    "host=target.test:80": "",
    "lane=default": "tl",
    "lane=mail": "s",
}


@pytest.mark.parametrize("query", FILTERS)
async def test_filters(client: httpx.AsyncClient, api: Api, query: str) -> None:
    made = {
        "s": await tried(client, api, SUCCESS, lane="mail"),
        "t": await tried(client, api, TIMEOUT),
        "l": await tried(client, api, LOST),
    }
    found = {entry["taskId"] for entry in await listed(client, f"?{query}") if entry["attempt"] == 1}
    assert found == {made[name] for name in FILTERS[query]}


async def test_one_task_and_a_span_of_time(client: httpx.AsyncClient, api: Api) -> None:
    made, ends = [], []
    for _ in range(4):
        made.append(await tried(client, api))
        ends.append(api.clock.now())
        api.clock.advance(limits.HOUR_MS)
    assert [entry["taskId"] for entry in await listed(client, f"?task={made[2]}")] == [made[2]]
    spanned = await listed(client, f"?since={ends[1]}&until={ends[3]}")
    assert [entry["taskId"] for entry in spanned] == [made[2], made[1]]
    day = await listed(client, "?since=2023-11-14T00:00:00Z&until=2023-11-15")
    assert len(day) == 2  # the clock begins at 22:13


async def test_a_schedule_by_its_id_and_by_its_name(client: httpx.AsyncClient, api: Api) -> None:
    body = {"name": "nightly", "cron": "0 3 * * *", "task": task()}
    schedule = (await client.post("/v1/schedules", json=body)).json()["id"]
    await client.post("/v1/schedules/nightly/run")
    api.clock.advance(50)
    await worked(api.store, api.clock, SUCCESS)
    await tried(client, api)
    for key in (schedule, "nightly"):
        (entry,) = await listed(client, f"?schedule={key}")
        assert entry["scheduleId"] == schedule
        assert entry["fireAt"] > 0
    assert await listed(client, f"?schedule={'A' * 24}") == []
    answer = await client.get("/v1/logs?schedule=weekly")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "query.schedule"


async def test_pages_follow_each_other_with_their_filters(client: httpx.AsyncClient, api: Api) -> None:
    made = [await tried(client, api, lane="mail" if number % 2 else "other") for number in range(9)]
    found = await listed(client, "?limit=2&lane=mail")
    assert [entry["taskId"] for entry in found] == made[1::2][::-1]
    first = await client.get("/v1/logs?limit=2&lane=mail")
    assert len(first.json()) == 2
    assert "lane=mail" in first.links["next"]["url"]
    assert "next" not in (await client.get("/v1/logs?limit=9")).links


async def test_one_owner_sees_nothing_of_another_and_the_operator_all(
    api: Api, client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    other, facts = await api.owner("other-shop")
    mine, theirs = await tried(client, api), await tried(other, api)
    assert [entry["taskId"] for entry in await listed(client)] == [mine]
    assert await listed(client, f"?task={theirs}") == []
    assert [entry["taskId"] for entry in await listed(admin)] == [theirs, mine]
    acting = {"X-Tasks-Owner-Id": facts["id"]}
    assert [entry["taskId"] for entry in (await admin.get("/v1/logs", headers=acting)).json()] == [theirs]
    answer = await admin.get("/v1/logs?schedule=nightly")
    assert answer.json()["errors"][0]["message"].startswith("must be an id")


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("state=RUNNING", ["query.state"]),
        ("statusCode=4x", ["query.statusCode"]),
        ("statusCode=600,1", ["query.statusCode"]),
        ("host=http://a.example/", ["query.host"]),
        ("host=a.example&handler=h", ["query.handler"]),
        ("task=short&limit=0", ["query.limit", "query.task"]),
        ("since=yesterday&until=99999999999999999", ["query.since", "query.until"]),
        ("lane=%20", ["query.lane"]),
        ("cursor=nonsense", ["query.cursor"]),
        ("cursor=WzEsMiwtM10", ["query.cursor"]),
        ("sort=asc", ["query.sort"]),
    ],
)
async def test_every_fault_is_named(client: httpx.AsyncClient, query: str, fields: list[str]) -> None:
    answer = await client.get(f"/v1/logs?{query}")
    assert answer.status_code == 400
    assert sorted(fault["field"] for fault in answer.json()["errors"]) == fields
