"""`/v1/audit`: what was done by hand, with which key, to what; nothing of what was refused, or taken in."""

import hashlib
from typing import Any

import httpx
import pytest

from .conftest import ADMIN_KEY, Api, task

PATH = "/v1/audit"
FINGERPRINT = hashlib.sha256(ADMIN_KEY.encode()).hexdigest()[:8]


async def entries(client: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(f"{PATH}?limit=1000{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def deeds(client: httpx.AsyncClient, query: str = "") -> list[tuple[str, str, str | None]]:
    """What was done, the oldest first."""
    return [(entry["kind"], entry["action"], entry["subject"]) for entry in reversed(await entries(client, query))]


async def registered(client: httpx.AsyncClient) -> str:
    made: str = (await client.post("/v1/queues/register", json=task(executionDelay="1h"))).json()["id"]
    return made


async def test_an_entry_tells_who_did_what_to_which_and_when(api: Api, admin: httpx.AsyncClient) -> None:
    client, owner = await api.owner("my-shop")
    made = await registered(client)
    api.clock.advance(5)
    await client.patch(f"/v1/queues/{made}/pause")
    await admin.patch(f"/v1/queues/{made}/resume")
    newest, older, first = await entries(client)
    assert older == {
        "at": api.clock.now(), "by": "owner", "via": "api", "key": owner["keyId"], "user": None,
        "ownerId": owner["id"], "owner": "my-shop", "kind": "task", "action": "pause", "subject": made, "detail": None,
    }  # fmt: skip
    assert (newest["by"], newest["key"], newest["action"]) == ("operator", FINGERPRINT, "resume")
    assert (first["kind"], first["action"], first["subject"], first["key"]) == ("owner", "register", "my-shop", None)


async def test_every_change_by_hand_is_recorded_and_taking_tasks_in_is_not(api: Api) -> None:
    client, owner = await api.owner("my-shop")
    made, other, gone = [await registered(client) for _ in range(3)]
    body = {"name": "nightly", "cron": "@daily", "task": {"httpRequest": {"url": "http://a.test/", "method": "GET"}}}
    steps: list[tuple[str, str, Any]] = [
        ("PATCH", f"/v1/queues/{made}/pause", None),
        ("PATCH", f"/v1/queues/{made}/resume", None),
        ("PATCH", f"/v1/queues/{made}", {"config": {"priority": 5}}),
        ("POST", f"/v1/queues/{made}/execute", None),
        ("PATCH", f"/v1/queues/{other}/revoke", None),
        ("POST", f"/v1/queues/{other}/retry", None),
        ("DELETE", f"/v1/queues/{gone}", None),
        ("PUT", "/v1/lanes/mail", {"ratePerSecond": 5}),
        ("PATCH", "/v1/lanes/mail", {"maxConcurrent": 2}),
        ("POST", "/v1/lanes/mail/pause", None),
        ("POST", "/v1/lanes/mail/resume", None),
        ("DELETE", "/v1/lanes/mail", None),
        ("POST", "/v1/schedules", body),
        ("PUT", "/v1/schedules/nightly", body),
        ("PATCH", "/v1/schedules/nightly", {"cron": "@hourly"}),
        ("POST", "/v1/schedules/nightly/pause", None),
        ("POST", "/v1/schedules/nightly/resume", None),
        ("POST", "/v1/schedules/nightly/run", None),
        ("DELETE", "/v1/schedules/nightly", None),
        ("POST", "/v1/bulk", {"action": "retry", "filter": {"lane": "mail"}}),
        ("POST", "/v1/owners/my-shop/keys", None),
        ("POST", "/v1/owners/my-shop/signing/rotate", None),
        ("PATCH", "/v1/owners/my-shop/signing", {"enabled": False}),
        ("PATCH", "/v1/owners/my-shop", {"retentionDays": 1}),
        ("POST", "/tasks", {"task_name": "default", "type": "recurring", "schedule": "@daily", "name": "by-tasks"}),
    ]
    for method, path, sent in steps:
        answer = (
            await client.request(method, path, json=sent) if sent is not None else await client.request(method, path)
        )
        assert answer.is_success, (method, path, answer.text)
    named = (await client.post("/tasks", json={"task_name": "default", "scheduled_at": "2090-01-01T00:00:00Z"})).json()
    await client.patch(f"/tasks/{named['id']}", json={"scheduled_at": "2091-01-01T00:00:00Z"})
    await client.delete(f"/tasks/{named['id']}")
    bulk = (await client.get("/v1/bulk")).json()[0]["id"]
    await client.post(f"/v1/bulk/{bulk}/cancel")
    keys = {key["keyId"] for key in (await client.get("/v1/owners/my-shop/keys")).json()} - {owner["keyId"]}
    await client.delete(f"/v1/owners/my-shop/keys/{keys.pop()}")

    found = await deeds(client)
    assert [(kind, action) for kind, action, _ in found] == [
        ("owner", "register"), ("task", "pause"), ("task", "resume"), ("task", "edit"), ("task", "execute"),
        ("task", "revoke"), ("task", "retry"), ("task", "delete"),
        ("lane", "put"), ("lane", "edit"), ("lane", "pause"), ("lane", "resume"), ("lane", "delete"),
        ("schedule", "create"), ("schedule", "put"), ("schedule", "edit"), ("schedule", "pause"),
        ("schedule", "resume"), ("schedule", "run"), ("schedule", "delete"), ("bulk", "create"), ("key", "add"),
        ("signing", "rotate"), ("signing", "edit"), ("owner", "edit"), ("schedule", "create"), ("task", "edit"),
        ("task", "revoke"), ("bulk", "cancel"), ("key", "remove"),
    ]  # fmt: skip
    assert all(entry["ownerId"] == owner["id"] for entry in await entries(client))
    assert all(subject for kind, _, subject in found if kind != "signing")
    details = {(entry["kind"], entry["action"]): entry["detail"] for entry in await entries(client)}
    assert details["lane", "put"] == "ratePerSecond: 5"
    assert details["owner", "edit"] == "retentionMs: 86400000"
    assert details["bulk", "create"] == "retry, by lane"


async def test_what_is_refused_is_not_recorded(api: Api, admin: httpx.AsyncClient) -> None:
    client, _ = await api.owner("my-shop")
    made = await registered(client)
    for answer in (
        await client.patch(f"/v1/queues/{made}/resume"),
        await client.delete(f"/v1/queues/{'0' * 24}"),
        await client.patch("/v1/owners/my-shop", json={"suspended": True}),
        await admin.patch("/v1/owners/my-shop", json={"retentionDays": 0.001}),
        await client.delete("/v1/owners/my-shop"),
        await client.post("/v1/lanes/unused/pause"),
    ):
        assert answer.is_client_error
    assert await deeds(admin) == [("owner", "register", "my-shop")]


async def test_an_owner_sees_its_own_and_the_operator_all(api: Api, admin: httpx.AsyncClient) -> None:
    first, mine = await api.owner("my-shop")
    second, _ = await api.owner("other-shop")
    await first.put("/v1/lanes/mail", json={})
    assert await deeds(second) == [("owner", "register", "other-shop")]
    assert len(await deeds(admin)) == 3
    named = api.client(ADMIN_KEY, mine["id"])
    assert [action for _, action, _ in await deeds(named)] == ["register", "put"]


async def test_the_operator_deletes_without_naming_the_owner_and_it_is_known_whose_it_was(
    api: Api, admin: httpx.AsyncClient
) -> None:
    client, _ = await api.owner("my-shop")
    made = await registered(client)
    assert (await admin.delete(f"/v1/queues/{made}")).status_code == 200
    assert ("task", "delete", made) in await deeds(client)


async def test_pages_and_filters(api: Api, admin: httpx.AsyncClient) -> None:
    client, _ = await api.owner("my-shop")
    for name in ("a", "b", "c"):
        await client.put(f"/v1/lanes/{name}", json={})
        api.clock.advance(1_000)
    page = await client.get(f"{PATH}?limit=2")
    assert [entry["subject"] for entry in page.json()] == ["c", "b"]
    following = await client.get(page.links["next"]["url"])
    assert [entry["subject"] for entry in following.json()] == ["a", "my-shop"]
    await admin.patch("/v1/owners/my-shop", json={"suspended": True})
    for query, found in (
        ("&by=operator", ["edit"]),
        ("&kind=LANE&action=put", ["put"] * 3),
        ("&subject=b", ["put"]),
        (f"&key={FINGERPRINT}", ["edit"]),
        (f"&since={api.clock.now()}", ["edit"]),
        (f"&until={api.clock.now()}", ["register", "put", "put", "put"]),
    ):
        assert [action for _, action, _ in await deeds(admin, query)] == found, query


WRONG = ("by=nobody", "kind=house", "action=eat", "cursor=x", "since=never", "limit=0", f"subject={'x' * 129}", "a=b")


@pytest.mark.parametrize("query", WRONG)
async def test_wrong_queries(api: Api, query: str) -> None:
    client, _ = await api.owner()
    answer = await client.get(f"{PATH}?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (
        400,
        f"query.{query.split('=', maxsplit=1)[0]}",
    )
