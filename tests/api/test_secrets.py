"""No secret of a request comes back: not in answers, faults, lists, timelines, nor in the log."""

import httpx

from tasks_server.domain.attempt import Outcome, OutcomeKind

from .conftest import Api, worked

SECRET = "s3cr3t-of-the-test"
REQUEST = {
    "url": f"https://target.test/hook?api_key={SECRET}",
    "method": "POST",
    "headers": {"Authorization": f"Bearer {SECRET}", "X-Api-Key": SECRET},
    "query": {"access_token": SECRET},
    "data": {"user": {"password": SECRET, "tokens": [SECRET, {"a": SECRET}]}},
}
BODY = {"httpRequest": REQUEST, "config": {"retry": 1}, "metadata": {"token": SECRET, "shop": "5"}}


async def test_nothing_that_the_api_answers_or_logs_holds_a_secret(api: Api, client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/queues/register", json=BODY)
    batch = await client.post("/v1/queues/batch", json={"tasks": [BODY]})
    assert (made.status_code, batch.status_code) == (201, 201)
    path = f"/v1/queues/{made.json()['id']}"
    await worked(api.store, api.clock, Outcome(OutcomeKind.CONNECTION, 0, "refused"))
    wrong = BODY | {
        "httpRequest": REQUEST | {"headers": {"Cookie": f"{SECRET}\r\n", "Authorization": SECRET * 100, "Bad Name": ""}}
    }
    answers = [
        made,
        batch,
        *[await client.get(path + rest) for rest in ("", "/config", "/attempts", "/timeline")],
        await client.get("/v1/queues", params={"metadata.token": SECRET}),
        await client.patch(path, json={"httpRequest": {"headers": {"X-Token": SECRET}}}),
        await client.post("/v1/queues/register", json=wrong),
        await client.post("/v1/queues/batch", json={"tasks": [wrong]}),
        await client.post(path + "/pause"),
    ]
    assert [answer.status_code for answer in answers].count(400) == 2
    assert len(answers[6].json()) == 2
    for answer in answers:
        assert SECRET not in answer.text, answer.request.url
    assert not any(SECRET.encode() in line for line in api.logged)
    assert answers[2].json()["metadata"] == {"token": "***", "shop": "5"}


async def test_a_masked_configuration_sent_back_is_refused_and_loses_nothing(
    api: Api, client: httpx.AsyncClient
) -> None:
    made = (await client.post("/v1/queues/register", json=BODY | {"config": {"executionDelay": 60_000}})).json()
    path = f"/v1/queues/{made['id']}"
    before = await api.store.spec(None, made["id"])
    shown = (await client.get(path + "/config")).json()
    answer = await client.patch(path, json={"httpRequest": shown["httpRequest"], "metadata": shown["metadata"]})
    assert answer.status_code == 400
    fields = {fault["field"] for fault in answer.json()["errors"]}
    assert {
        "httpRequest.headers.Authorization",
        "httpRequest.headers.X-Api-Key",
        "httpRequest.query.access_token",
        "httpRequest.url",
        "httpRequest.data.user.password",
        "httpRequest.data.user.tokens.1.a",
        "metadata.token",
    } <= fields
    assert await api.store.spec(None, made["id"]) == before
    assert (await client.patch(path, json={"httpRequest": {"headers": {"Accept": "x"}}})).status_code == 200
    after = await api.store.spec(None, made["id"])
    assert after is not None
    assert after.count(SECRET.encode()) == before.count(SECRET.encode())  # type: ignore[union-attr]  # it was there before, too
