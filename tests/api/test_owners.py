"""Owners: registered, shown, limited, their keys rotated, removed."""

import httpx
import pytest

from tasks_server.api.app import ApiConfig

from .conftest import ADMIN_KEY, Api, task


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


async def test_registering_answers_id_and_key_once(api: Api) -> None:
    client, registered = await api.owner("small-shop")

    assert len(registered["id"]) == 26
    assert len(registered["key"]) == 64
    shown = (await client.get("/v1/owners/small-shop")).json()
    assert shown == {
        "id": registered["id"],
        "name": "small-shop",
        "createdAt": api.clock.now(),
        "tasksInQueue": 0,
        "tasksInQueueLimit": 1_000,
        "retentionDays": None,
        "requestsPerMinute": None,
        "suspended": False,
        "suspendedAt": None,
        "keys": [{"keyId": registered["keyId"], "createdAt": api.clock.now(), "lastUsedAt": None}],
    }


async def test_a_name_is_taken_once(api: Api) -> None:
    await api.owner("small-shop")
    again = await api.client().post("/v1/owners/register", json={"name": "small-shop"})
    assert told(again) == (409, "owner_name_taken")


@pytest.mark.parametrize(
    "name",
    ["abcd", "a" * 33, "1shop", "-shop", "shop-", "my--shop", "Shop1", "my_shop", "shöpp", "shop1\n", "", 5, None],
)
async def test_names_that_are_none(api: Api, name: object) -> None:
    answer = await api.client().post("/v1/owners/register", json={"name": name})
    assert told(answer) == (400, "invalid_request")
    assert answer.json()["errors"][0]["field"] == "name"


@pytest.mark.parametrize("name", ["abcde", "a" * 32, "a-b-c-1"])
async def test_names_at_the_edge(api: Api, name: str) -> None:
    assert (await api.owner(name))[1]["name"] == name


async def test_an_owner_sees_only_itself(api: Api) -> None:
    client, _ = await api.owner("my-shop")
    await api.owner("other-shop")
    for method in ("GET", "DELETE"):
        assert told(await client.request(method, "/v1/owners/other-shop")) == (404, "owner_not_found")
        assert told(await client.request(method, "/v1/owners/no-such-shop")) == (404, "owner_not_found")
    assert told(await client.post("/v1/owners/other-shop/keys")) == (404, "owner_not_found")


async def test_the_operator_sees_every_owner(api: Api, admin: httpx.AsyncClient) -> None:
    await api.owner("my-shop")
    assert (await admin.get("/v1/owners/my-shop")).json()["name"] == "my-shop"


# Limits


async def test_the_operator_sets_limits(api: Api, admin: httpx.AsyncClient) -> None:
    body = {"name": "small-shop", "tasksInQueueLimit": 1}
    client = api.client((await admin.post("/v1/owners/register", json=body)).json()["key"])
    assert (await client.post("/v1/queues/register", json=task())).status_code == 201
    assert told(await client.post("/v1/queues/register", json=task())) == (422, "queue_full")

    raised = await admin.patch("/v1/owners/small-shop", json={"tasksInQueueLimit": 2})

    assert (raised.json()["tasksInQueue"], raised.json()["tasksInQueueLimit"]) == (1, 2)
    assert (await client.post("/v1/queues/register", json=task())).status_code == 201


async def test_owners_do_not_set_limits(api: Api) -> None:
    client, _ = await api.owner("my-shop")
    patched = await client.patch("/v1/owners/my-shop", json={"tasksInQueueLimit": 5})
    assert told(patched) == (403, "admin_required")
    registered = await client.post("/v1/owners/register", json={"name": "other-shop", "tasksInQueueLimit": 5})
    assert told(registered) == (403, "admin_required")


@pytest.mark.parametrize("body", [{}, {"tasksInQueueLimit": -1}, {"tasksInQueueLimit": "5"}, {"limit": 5}, []])
async def test_limits_that_are_none(api: Api, admin: httpx.AsyncClient, body: object) -> None:
    await api.owner("my-shop")
    assert told(await admin.patch("/v1/owners/my-shop", json=body)) == (400, "invalid_request")


async def test_the_limit_of_an_unknown_owner(admin: httpx.AsyncClient) -> None:
    answer = await admin.patch("/v1/owners/no-such-shop", json={"tasksInQueueLimit": 5})
    assert told(answer) == (404, "owner_not_found")


# Retention


async def test_an_owner_keeps_history_for_less_and_not_for_more(api: Api) -> None:
    client, _ = await api.owner("my-shop")
    assert (await client.get("/v1/owners/my-shop")).json()["retentionDays"] is None
    for days in (0.5, 3, 1 / 24, 1, None):
        patched = await client.patch("/v1/owners/my-shop", json={"retentionDays": days})
        assert patched.status_code == 200
        assert patched.json()["retentionDays"] == days
    for days in (0, -1, 3_651, "3", True):
        refused = await client.patch("/v1/owners/my-shop", json={"retentionDays": days})
        (fault,) = refused.json()["errors"]
        bounds = "a number of days from 1/24 (one hour) to 3650, or null"
        assert (fault["field"], fault["message"]) == ("retentionDays", f"must be {bounds}")
    for days in (3.01, 0.04, 3_650):
        refused = await client.patch("/v1/owners/my-shop", json={"retentionDays": days})
        assert told(refused) == (400, "invalid_request")
        (fault,) = refused.json()["errors"]
        assert (fault["field"], fault["allowed"]) == ("retentionDays", "a number of days from 1/24 (one hour) to 3")


async def test_the_operator_lets_an_owner_keep_history_for_longer(api: Api, admin: httpx.AsyncClient) -> None:
    client, _ = await api.owner("my-shop")
    longer = await admin.patch("/v1/owners/my-shop", json={"retentionDays": 90, "tasksInQueueLimit": 7})
    assert (longer.json()["retentionDays"], longer.json()["tasksInQueueLimit"]) == (90, 7)
    assert (await client.patch("/v1/owners/my-shop", json={"retentionDays": 91})).status_code == 400
    assert (await client.patch("/v1/owners/my-shop", json={"retentionDays": 80})).status_code == 200
    assert (await client.patch("/v1/owners/my-shop", json={"retentionDays": 81})).status_code == 400
    assert (await admin.patch("/v1/owners/my-shop", json={"retentionDays": 3_651})).status_code == 400


async def test_an_owner_patches_itself_alone_and_all_or_nothing(api: Api) -> None:
    client, _ = await api.owner("my-shop")
    await api.owner("other-shop")
    assert (await client.patch("/v1/owners/other-shop", json={"retentionDays": 1})).status_code == 404
    both = await client.patch("/v1/owners/my-shop", json={"retentionDays": 1, "tasksInQueueLimit": 5})
    assert told(both) == (403, "admin_required")
    assert (await client.get("/v1/owners/my-shop")).json()["retentionDays"] is None
    for body in ({"retentionDays": "3"}, {"retentionDays": 0}, {"retentionDays": -1}, {"tasksInQueueLimit": None}):
        assert told(await client.patch("/v1/owners/my-shop", json=body)) == (400, "invalid_request")


# Registration behind the admin key


class TestClosed:
    @pytest.fixture
    def config(self) -> ApiConfig:
        return ApiConfig(admin_key=ADMIN_KEY, registration="closed")

    @pytest.mark.parametrize(
        ("key", "expected"),
        [
            (None, (401, "registration_closed")),
            ("", (401, "registration_closed")),
            ("k" * 64, (401, "key_invalid")),
            ("short", (401, "credentials_malformed")),
            (ADMIN_KEY, (201, "")),
        ],
    )
    async def test_only_the_operator_registers(self, api: Api, key: str | None, expected: tuple[int, str]) -> None:
        answer = await api.client(key).post("/v1/owners/register", json={"name": "small-shop"})
        assert told(answer) == expected

    async def test_the_key_of_an_owner_may_not(self, api: Api, admin: httpx.AsyncClient) -> None:
        key = (await admin.post("/v1/owners/register", json={"name": "small-shop"})).json()["key"]
        answer = await api.client(key).post("/v1/owners/register", json={"name": "other-shop"})
        assert told(answer) == (403, "admin_required")


# Keys


async def test_two_keys_live_side_by_side_and_the_last_one_stays(api: Api) -> None:
    client, first = await api.owner("my-shop")
    second = (await client.post("/v1/owners/my-shop/keys")).json()

    assert told(await client.post("/v1/owners/my-shop/keys")) == (422, "keys_full")
    assert (await api.client(second["key"]).get("/v1/queues")).status_code == 200
    assert (await client.delete(f"/v1/owners/my-shop/keys/{second['keyId']}")).json() == {"status": "Done"}
    assert told(await client.delete(f"/v1/owners/my-shop/keys/{second['keyId']}")) == (404, "key_not_found")
    assert told(await client.delete("/v1/owners/my-shop/keys/nonsense")) == (404, "key_not_found")
    assert told(await client.delete(f"/v1/owners/my-shop/keys/{first['keyId']}")) == (422, "last_key")


async def test_an_owner_cannot_remove_anothers_key(api: Api) -> None:
    client, _ = await api.owner("my-shop")
    other_client, other = await api.owner("other-shop")
    await other_client.post("/v1/owners/other-shop/keys")
    assert told(await client.delete(f"/v1/owners/my-shop/keys/{other['keyId']}")) == (404, "key_not_found")


# Removal


async def test_an_owner_with_tasks_in_queue_stays(api: Api) -> None:
    client, _ = await api.owner("my-shop")
    made = (await client.post("/v1/queues/register", json=task())).json()
    assert told(await client.delete("/v1/owners/my-shop")) == (422, "owner_has_tasks")

    await client.patch(f"/v1/queues/{made['id']}/revoke")

    assert (await client.delete("/v1/owners/my-shop")).json() == {"status": "Done"}
    assert (await api.owner("my-shop"))[1]["name"] == "my-shop"


# What the operator does with owners


async def test_owners_are_listed_by_name_page_after_page(api: Api, admin: httpx.AsyncClient) -> None:
    for name in ("shop-b", "shop-a", "shop-c", "depot"):
        await api.owner(name)
    page = await admin.get("/v1/owners?limit=2&prefix=shop-")
    assert [owner["name"] for owner in page.json()] == ["shop-a", "shop-b"]
    following = page.links["next"]["url"]
    assert [owner["name"] for owner in (await admin.get(following)).json()] == ["shop-c"]
    assert [owner["name"] for owner in (await admin.get("/v1/owners")).json()] == [
        "depot",
        "shop-a",
        "shop-b",
        "shop-c",
    ]
    assert "keys" not in page.json()[0]
    for query, field in (("prefix=Shop", "prefix"), ("cursor=%2F", "cursor"), ("limit=0", "limit"), ("name=a", "name")):
        answer = await admin.get(f"/v1/owners?{query}")
        assert told(answer) == (400, "invalid_request")
        assert answer.json()["errors"][0]["field"] == f"query.{field}"


async def test_the_list_of_owners_takes_an_admin_key(api: Api) -> None:
    client, _ = await api.owner()
    assert told(await client.get("/v1/owners")) == (403, "admin_required")


async def test_a_suspended_owner_is_refused_on_every_route_until_it_is_resumed(
    api: Api, admin: httpx.AsyncClient
) -> None:
    client, registered = await api.owner("my-shop")
    made = (await client.post("/v1/queues/register", json=task())).json()["id"]
    api.clock.advance(5)
    suspended = (await admin.patch("/v1/owners/my-shop", json={"suspended": True})).json()
    assert (suspended["suspended"], suspended["suspendedAt"]) == (True, api.clock.now())
    api.clock.advance(5)
    again = (await admin.patch("/v1/owners/my-shop", json={"suspended": True})).json()
    assert again["suspendedAt"] == suspended["suspendedAt"]

    for route in api.app.table:
        if route.access == "owner":
            path = route.path.replace("{name}", "my-shop").replace("{id}", made)
            answer = await client.request(route.method, path)
            assert told(answer) == (403, "owner_suspended"), (route.method, path)
    assert "my-shop is suspended: ask the operator" in answer.json()["detail"]
    named = api.client(ADMIN_KEY, registered["id"])
    told_why = (await named.get(f"/v1/queues/{made}/explain")).json()
    assert next(gate["gate"] for gate in told_why["gates"] if gate["closed"]) == "owner_suspended"
    assert (await named.get(f"/v1/queues/{made}")).status_code == 200

    resumed = (await admin.patch("/v1/owners/my-shop", json={"suspended": False})).json()
    assert (resumed["suspended"], resumed["suspendedAt"]) == (False, None)
    assert (await client.get(f"/v1/queues/{made}")).status_code == 200


async def test_an_owner_may_neither_suspend_nor_resume_nor_rate_itself(api: Api) -> None:
    client, _ = await api.owner("my-shop")
    for body in ({"suspended": True}, {"suspended": False}, {"requestsPerMinute": None}, {"requestsPerMinute": 9}):
        answer = await client.patch("/v1/owners/my-shop", json=body)
        assert told(answer) == (403, "admin_required")
        assert next(iter(body)) in answer.json()["detail"]


async def test_an_owner_may_have_a_rate_of_its_own(api: Api, admin: httpx.AsyncClient) -> None:
    client, _ = await api.owner("my-shop")
    other, _ = await api.owner("other-shop")
    assert told(await admin.patch("/v1/owners/my-shop", json={"requestsPerMinute": 0})) == (400, "invalid_request")
    shown = (await admin.patch("/v1/owners/my-shop", json={"requestsPerMinute": 2})).json()
    assert shown["requestsPerMinute"] == 2
    first, second, third = [await client.get("/v1/queues") for _ in range(3)]
    assert [first.headers["ratelimit-remaining"], second.headers["ratelimit-remaining"]] == ["1", "0"]
    assert (told(third), third.headers["ratelimit-limit"]) == ((429, "throttled"), "2")
    assert (await other.get("/v1/queues")).status_code == 200
    api.clock.advance(60_000)
    assert (await client.get("/v1/queues")).status_code == 200
    await admin.patch("/v1/owners/my-shop", json={"requestsPerMinute": None})
    assert "ratelimit-limit" not in (await client.get("/v1/queues")).headers


async def test_an_edit_of_several_things_is_all_or_nothing(api: Api, admin: httpx.AsyncClient) -> None:
    await api.owner("my-shop")
    refused = await admin.patch("/v1/owners/my-shop", json={"suspended": True, "retentionDays": 0.001})
    assert told(refused) == (400, "invalid_request")
    assert not (await admin.get("/v1/owners/my-shop")).json()["suspended"]


async def test_keys_are_listed_without_their_secrets(api: Api, admin: httpx.AsyncClient) -> None:
    client, first = await api.owner("my-shop")
    second = (await client.post("/v1/owners/my-shop/keys")).json()
    for who in (client, admin):
        answer = await who.get("/v1/owners/my-shop/keys")
        assert {key["keyId"] for key in answer.json()} == {first["keyId"], second["keyId"]}
        assert set(answer.json()[0]) == {"keyId", "createdAt", "lastUsedAt"}
        assert first["key"] not in answer.text
    other, _ = await api.owner("other-shop")
    assert told(await other.get("/v1/owners/my-shop/keys")) == (404, "owner_not_found")


async def test_the_name_that_is_taken_is_named(api: Api) -> None:
    await api.owner("my-shop")
    answer = await api.client().post("/v1/owners/register", json={"name": "my-shop"})
    assert told(answer) == (409, "owner_name_taken")
    assert "my-shop" in answer.json()["detail"]
