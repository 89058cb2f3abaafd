"""Keys: which are taken, for whom, and when they stop being taken."""

import re

import httpx
import pytest

from tasks_server.api.app import ApiConfig
from tasks_server.domain.ids import key_digest
from tasks_server.store.owning import KeyHolder

from .conftest import ADMIN_KEY, Api, task

UNKNOWN_ID = "01ARYZ6S410000000000000000"


async def outcome(client: httpx.AsyncClient) -> tuple[int, str]:
    answer = await client.get("/v1/queues")
    return answer.status_code, "" if answer.is_success else answer.json()["code"]


async def test_the_key_alone_is_enough(api: Api) -> None:
    client, _ = await api.owner()
    assert await outcome(client) == (200, "")


@pytest.mark.parametrize("times", [1, 2], ids=["asked of the store", "remembered"])
async def test_key_and_owner_id_must_belong_together(api: Api, times: int) -> None:
    _, mine = await api.owner("my-shop")
    _, other = await api.owner("other-shop")
    for _ in range(times):
        assert await outcome(api.client(mine["key"], mine["id"])) == (200, "")
        assert await outcome(api.client(mine["key"], other["id"])) == (401, "key_invalid")
        assert await outcome(api.client(mine["key"], UNKNOWN_ID)) == (401, "owner_unknown")
        assert await outcome(api.client(mine["key"], "nonsense")) == (401, "credentials_malformed")


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, (401, "credentials_missing")),
        ("", (401, "credentials_missing")),
        ("Basic eDp5", (401, "credentials_malformed")),
        ("Bearer", (401, "credentials_malformed")),
        ("Bearer short", (401, "credentials_malformed")),
        ("Bearer " + "-" * 64, (401, "credentials_malformed")),
        ("Bearer " + "é" * 64, (401, "credentials_malformed")),
        ("Bearer " + "k" * 64, (401, "key_invalid")),
    ],
)
async def test_what_is_no_key(api: Api, authorization: str | None, expected: tuple[int, str]) -> None:
    client = api.client()
    if authorization is not None:
        client.headers = httpx.Headers([(b"authorization", authorization.encode())])
    assert await outcome(client) == expected


async def test_a_wrong_key_is_told_how_to_log_in(api: Api) -> None:
    answer = await api.client("k" * 64).get("/v1/queues")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_without_bearer_is_not_taken_even_when_it_is_remembered(api: Api) -> None:
    client, registered = await api.owner()
    assert await outcome(client) == (200, "")
    client.headers["Authorization"] = "Digest " + registered["key"]
    assert await outcome(client) == (401, "credentials_malformed")


# The operator


async def test_the_admin_key_sees_all_and_acts_for_the_owner_it_names(api: Api, admin: httpx.AsyncClient) -> None:
    client, registered = await api.owner("my-shop")
    other, _ = await api.owner("other-shop")
    for one in (client, other):
        assert (await one.post("/v1/queues/register", json=task())).status_code == 201

    assert len((await admin.get("/v1/queues")).json()) == 2
    sorted_otherwise = await admin.get("/v1/queues?order=estimateEndAt")
    assert (sorted_otherwise.status_code, sorted_otherwise.json()["errors"][0]["field"]) == (400, "query.order")

    named = api.client(ADMIN_KEY, registered["id"])
    assert len((await named.get("/v1/queues")).json()) == 1
    assert (await named.post("/v1/queues/register", json=task())).status_code == 201
    assert len((await client.get("/v1/queues")).json()) == 2


@pytest.mark.parametrize(("path", "body"), [("register", task()), ("batch", {"tasks": [task()]})])
async def test_the_admin_key_must_say_whose_a_new_task_is(admin: httpx.AsyncClient, path: str, body: object) -> None:
    answer = await admin.post(f"/v1/queues/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "owner_missing")


async def test_the_admin_key_for_an_unknown_owner(api: Api) -> None:
    assert await outcome(api.client(ADMIN_KEY, UNKNOWN_ID)) == (401, "owner_unknown")


class TestWithoutAnAdminKey:
    @pytest.fixture
    def config(self) -> ApiConfig:
        return ApiConfig(registration="open")

    @pytest.mark.parametrize("key", ["", "None", ADMIN_KEY])
    async def test_nothing_passes_for_one(self, api: Api, key: str) -> None:
        assert (await outcome(api.client(key)))[0] == 401


# One owner's tasks are not another's


STEPS = [
    ("GET", ""),
    ("GET", "/config"),
    ("GET", "/attempts"),
    ("GET", "/timeline"),
    ("PATCH", "/pause"),
    ("PATCH", "/resume"),
    ("PATCH", "/revoke"),
    ("POST", "/execute"),
    ("POST", "/retry"),
    ("DELETE", ""),
]


async def test_another_owners_task_is_as_unknown_as_one_that_never_was(api: Api) -> None:
    mine, _ = await api.owner("my-shop")
    other, _ = await api.owner("other-shop")
    made = (await mine.post("/v1/queues/register", json=task())).json()
    path = f"/v1/queues/{made['id']}"

    answers = [await other.request(method, path + step) for method, step in STEPS]
    answers.append(await other.patch(path, json={"config": {"retry": 1}}))

    assert {answer.status_code for answer in answers} == {404}
    assert (await other.get("/v1/queues")).json() == []
    assert (await mine.get(path)).json()["state"] == "RUNNING"


# Remembered keys


async def test_a_removed_key_ends_at_once(api: Api) -> None:
    client, first = await api.owner()
    second = (await client.post(f"/v1/owners/{first['name']}/keys")).json()
    fresh = api.client(second["key"])
    assert await outcome(client) == (200, "")

    assert (await fresh.delete(f"/v1/owners/{first['name']}/keys/{first['keyId']}")).status_code == 200

    assert await outcome(client) == (401, "key_invalid")
    assert await outcome(fresh) == (200, "")


async def test_a_removed_owner_ends_at_once(api: Api) -> None:
    client, registered = await api.owner()
    assert await outcome(client) == (200, "")
    assert (await client.delete(f"/v1/owners/{registered['name']}")).status_code == 200
    assert await outcome(client) == (401, "key_invalid")


async def test_a_key_removed_by_another_process_ends_within_ten_seconds(api: Api) -> None:
    client, registered = await api.owner()
    await client.post(f"/v1/owners/{registered['name']}/keys")
    assert await outcome(client) == (200, "")
    assert await api.store.remove_key(registered["id"], registered["keyId"])

    api.clock.advance(10_000)
    assert await outcome(client) == (200, "")
    api.clock.advance(1)
    assert await outcome(client) == (401, "key_invalid")


async def test_a_key_removed_while_it_is_looked_up_is_not_remembered(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client, registered = await api.owner()
    other = (await client.post(f"/v1/owners/{registered['name']}/keys")).json()
    look_up = api.store.owner_by_key
    api.clock.advance(11_000)

    async def slow(digest: bytes) -> KeyHolder | None:
        found = await look_up(digest)
        if digest == key_digest(registered["key"]):  # removed after it was found, before that is told
            remover = api.client(other["key"])
            removed = await remover.delete(f"/v1/owners/{registered['name']}/keys/{registered['keyId']}")
            assert removed.status_code == 200
            monkeypatch.undo()
        return found

    monkeypatch.setattr(api.store, "owner_by_key", slow)
    assert await outcome(client) == (200, "")
    assert await outcome(client) == (401, "key_invalid")


async def test_a_task_for_an_owner_removed_elsewhere_is_not_stored(api: Api) -> None:
    client, registered = await api.owner()
    assert await outcome(client) == (200, "")
    assert await api.store.delete_owner(registered["id"])

    answer = await client.post("/v1/queues/register", json=task())

    assert (answer.status_code, answer.json()["code"]) == (401, "owner_unknown")


# Every route


@pytest.mark.parametrize("authorization", [None, "", "Basic eDp5", "Bearer short", "Bearer " + "k" * 64])
async def test_a_key_that_is_missing_malformed_or_wrong_is_401_on_every_route(
    api: Api, authorization: str | None
) -> None:
    client = api.client()
    client.headers = httpx.Headers({} if authorization is None else {"authorization": authorization})
    asked = [(route.method, route.path) for route in api.app.table if route.access in ("owner", "admin")]
    assert len(asked) > 50
    for method, path in asked:
        answer = await client.request(method, re.sub(r"\{\w+\}", "some-name", path))
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_right_key_that_may_not_register_is_403_and_a_wrong_one_401(api: Api) -> None:
    client, _ = await api.owner()
    for key, expected in (("k" * 64, (401, "key_invalid")), ("short", (401, "credentials_malformed"))):
        answer = await api.client(key).post("/v1/owners/register", json={"name": "other-shop"})
        assert (answer.status_code, answer.json()["code"]) == expected, "also where nobody needs a key"
    assert (await client.post("/v1/owners/register", json={"name": "other-shop"})).status_code == 201


class TestKeysOfTheOperator:
    """Several that may do everything, and some that may only look."""

    NEW, LOOKING = "the-next-key-of-the-operator", "the-key-of-the-monitoring"

    @pytest.fixture
    def config(self) -> ApiConfig:
        return ApiConfig(f"{self.NEW}, {ADMIN_KEY}", self.LOOKING, registration="open")

    async def test_each_of_them_counts_until_it_is_taken_away(self, api: Api) -> None:
        for key in (ADMIN_KEY, self.NEW):
            assert await outcome(api.client(key)) == (200, "")
        assert (await outcome(api.client(f"{self.NEW}, {ADMIN_KEY}")))[0] == 401
        api.app.set_admin_keys(self.NEW, None)
        assert await outcome(api.client(self.NEW)) == (200, "")
        for key in (ADMIN_KEY, self.LOOKING):
            assert await outcome(api.client(key)) == (401, "credentials_malformed")

    async def test_a_key_that_may_only_look_sees_all_and_changes_nothing_on_any_route(self, api: Api) -> None:
        client, registered = await api.owner("my-shop")
        made = (await client.post("/v1/queues/register", json=task())).json()["id"]
        looking, named = api.client(self.LOOKING), api.client(self.LOOKING, registered["id"])
        for who, path in ((looking, "/v1/queues"), (named, "/v1/lanes"), (looking, "/v1/owners/my-shop")):
            assert (await who.get(path)).status_code == 200
        signing = (await looking.get("/v1/owners/my-shop/signing")).json()
        assert signing["secrets"][0]["secret"] is None

        for route in api.app.table:
            if route.method != "GET" and route.access != "none":
                path = route.path.replace("{name}", "my-shop").replace("{id}", made)
                answer = await named.request(route.method, path, json={"name": "other-shop"})
                assert (answer.status_code, answer.json()["code"]) == (403, "key_read_only"), (route.method, path)
        assert (await client.get(f"/v1/queues/{made}")).json()["state"] == "RUNNING"
