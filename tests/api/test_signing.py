"""Signing over the API: shown to the owner alone, rotated, switched; its headers cannot be set."""

import base64

import httpx
import pytest

from tasks_server.domain.attempt import Outcome, OutcomeKind

from .conftest import Api, task, worked
from .test_owners import told

PATH = "/v1/owners/small-shop/signing"
DAY_MS = 86_400_000
HEADERS = {"webhook-id": "x", "Webhook-Signature": "y"}


async def test_a_new_owner_has_one_secret(api: Api, client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH)
    assert answer.status_code == 200
    (secret,) = answer.json()["secrets"]
    assert answer.json()["enabled"] is True
    assert len(base64.b64decode(secret["secret"].removeprefix("whsec_"))) == 32
    assert secret["secret"].startswith("whsec_")
    assert (secret["createdAt"], secret["expiresAt"]) == (api.clock.now(), None)


async def test_the_operator_does_not_see_the_secret(api: Api, admin: httpx.AsyncClient) -> None:
    _, registered = await api.owner()
    for headers in ({}, {"X-Tasks-Owner-Id": registered["id"]}):
        (secret,) = (await admin.get(PATH, headers=headers)).json()["secrets"]
        assert secret["secret"] is None
        assert secret["id"]
    assert "whsec_" not in (await admin.post(PATH + "/rotate")).text


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("PATCH", PATH), ("POST", PATH + "/rotate")])
async def test_others_see_and_change_nothing(api: Api, method: str, path: str) -> None:
    client, _ = await api.owner()
    before = (await client.get(PATH)).json()
    stranger, _ = await api.owner("other-shop")
    answer = await stranger.request(method, path, json={"enabled": False} if method == "PATCH" else {})
    assert told(answer) == (404, "owner_not_found")
    assert (await api.client().request(method, path)).status_code == 401
    assert (await client.get(PATH)).json() == before


@pytest.mark.parametrize(("body", "overlap_ms"), [(None, DAY_MS), ({}, DAY_MS), ({"overlapSeconds": 60}, 60_000)])
async def test_rotation_leaves_the_old_one_valid_for_the_overlap(
    api: Api, client: httpx.AsyncClient, body: object, overlap_ms: int
) -> None:
    (old,) = (await client.get(PATH)).json()["secrets"]
    api.clock.advance(5)
    answer = await (client.post(PATH + "/rotate") if body is None else client.post(PATH + "/rotate", json=body))
    assert answer.status_code == 201
    new, kept = answer.json()["secrets"]
    assert new["secret"] != old["secret"]
    assert kept == old | {"expiresAt": api.clock.now() + overlap_ms}
    assert (await client.get(PATH)).json() == answer.json()
    api.clock.advance(overlap_ms)
    assert (await client.get(PATH)).json()["secrets"] == [new]


async def test_there_are_two_at_most_and_one_at_once_without_overlap(client: httpx.AsyncClient, api: Api) -> None:
    api.clock.advance(1)  # secrets of one millisecond have no order
    first = (await client.post(PATH + "/rotate")).json()["secrets"][0]
    api.clock.advance(1)
    second, kept = (await client.post(PATH + "/rotate")).json()["secrets"]
    assert kept["secret"] == first["secret"]
    api.clock.advance(1)
    (third,) = (await client.post(PATH + "/rotate", json={"overlapSeconds": 0})).json()["secrets"]
    assert third["secret"] not in (first["secret"], second["secret"])


@pytest.mark.parametrize(
    "body", [{"overlapSeconds": -1}, {"overlapSeconds": 604_801}, {"overlapSeconds": "1"}, {"overlap": 1}, []]
)
async def test_overlaps_that_are_none(client: httpx.AsyncClient, body: object) -> None:
    assert told(await client.post(PATH + "/rotate", json=body)) == (400, "invalid_request")


async def test_switching_keeps_the_secrets(client: httpx.AsyncClient) -> None:
    before = (await client.get(PATH)).json()
    off = await client.patch(PATH, json={"enabled": False})
    assert (off.status_code, off.json()) == (200, before | {"enabled": False})
    assert (await client.get(PATH)).json() == off.json()
    assert (await client.patch(PATH, json={"enabled": True})).json() == before
    assert told(await client.patch(PATH, json={})) == (400, "invalid_request")
    assert told(await client.patch(PATH, json={"enabled": 1})) == (400, "invalid_request")


# Headers of the signature


def signed_like(headers: dict[str, str]) -> dict[str, object]:
    return {"httpRequest": {"url": "https://target.test/", "method": "POST", "headers": headers}}


async def test_its_headers_cannot_be_set_while_calls_are_signed(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/queues/register", json=signed_like(HEADERS))
    assert told(answer) == (400, "invalid_request")
    fields = ["httpRequest.headers.webhook-id", "httpRequest.headers.Webhook-Signature"]
    assert [fault["field"] for fault in answer.json()["errors"]] == fields
    batch = await client.post("/v1/queues/batch", json={"tasks": [task(), signed_like(HEADERS)]})
    assert [fault["field"] for fault in batch.json()["errors"]] == [f"tasks.1.{field}" for field in fields]
    made = (await client.post("/v1/queues/register", json=task(executionDelay=60_000))).json()["id"]
    patch = {"httpRequest": {"headers": {"webhook-id": "x"}}}
    edited = await client.patch(f"/v1/queues/{made}", json=patch)
    assert [fault["field"] for fault in edited.json()["errors"]] == fields[:1]
    assert (await client.get("/v1/queues")).json()[0]["id"] == made


async def test_they_can_be_set_once_signing_is_off(client: httpx.AsyncClient) -> None:
    await client.patch(PATH, json={"enabled": False})
    answer = await client.post("/v1/queues/register", json=signed_like(HEADERS))
    assert answer.status_code == 201
    config = (await client.get(f"/v1/queues/{answer.json()['id']}/config")).json()
    assert config["httpRequest"]["headers"]["webhook-id"] == "x"


async def test_no_secret_is_logged_or_shown_elsewhere(api: Api, client: httpx.AsyncClient) -> None:
    secret = (await client.post(PATH + "/rotate")).json()["secrets"][0]["secret"]
    made = (await client.post("/v1/queues/register", json=task())).json()["id"]
    await worked(api.store, api.clock, Outcome(OutcomeKind.SUCCESS, 200))
    for path in ("/v1/owners/small-shop", *(f"/v1/queues/{made}{rest}" for rest in ("", "/config", "/timeline"))):
        assert secret not in (await client.get(path)).text
    assert not any(secret.encode() in line for line in api.logged)
