"""What is wrong with a large body is looked for no longer than an answer can tell, and away from who is served."""

import asyncio
import json
import threading
from typing import Any

import httpx
import pytest

from tasks_server.api import batch_reading, task_routes
from tasks_server.domain import limits, suggestions
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.store.door import Door

from .conftest import Api, task, worked

BATCH = "/v1/queues/batch"


@pytest.fixture
def suggested(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names for which a better one was sought."""
    names: list[str] = []
    real = suggestions.get_close_matches

    def count(word: str, *arguments: Any, **more: Any) -> list[str]:
        names.append(word)
        return real(word, *arguments, **more)

    monkeypatch.setattr(suggestions, "get_close_matches", count)
    suggestions._meant.cache_clear()
    return names


def unknown(count: int, mark: str) -> dict[str, int]:
    return {f"retri{mark}x{number}": 1 for number in range(count)}


@pytest.mark.parametrize(
    ("bodies", "unread"),
    [
        ([task(**unknown(5_000, "one"))], 0),
        ([task() | unknown(5_000, "frame")], 0),
        ([task(**unknown(50, str(place))) for place in range(100)], 96),
        ([{"httpRequest": {"url": "http://a/", "method": "GET"} | unknown(5_000, "request")}], 0),
        ([{"handler": {"name": "a"}} | unknown(5_000, "handler")], 0),
    ],
    ids=["config", "task", "each of a batch", "request", "handler"],
)
async def test_no_more_is_sought_than_is_told(
    client: httpx.AsyncClient, suggested: list[str], bodies: list[dict[str, Any]], unread: int
) -> None:
    answer = await client.post(BATCH, json={"tasks": bodies})
    assert answer.status_code == 400
    assert len(answer.json()["errors"]) == limits.FAULTS_MAX
    assert len(set(suggested)) <= limits.FAULTS_MAX
    assert (f"({unread} more tasks were not looked at)" in answer.json()["detail"]) is bool(unread)


async def test_the_same_mistake_in_every_task_is_thought_about_once(
    client: httpx.AsyncClient, suggested: list[str]
) -> None:
    await client.post(BATCH, json={"tasks": [task(retri=3)] * 100})
    assert suggested == ["retri"]


async def test_no_better_name_is_sought_for_a_long_one(client: httpx.AsyncClient, suggested: list[str]) -> None:
    answer = await client.post(BATCH, json={"tasks": [{"x" * 100_000: 1}]})
    assert suggested == []
    assert answer.json()["errors"][0]["field"] == f"tasks.0.{'x' * 64}"


@pytest.mark.parametrize(
    "part",
    [
        {"headers": {f"h{number}": "v" for number in range(5_000)}},
        {"query": {f"q {number}": 1 for number in range(5_000)}},
        {"data": [{"name": 1}] * 5_000},
    ],
    ids=["headers", "query", "form"],
)
async def test_what_is_too_many_is_not_looked_into(client: httpx.AsyncClient, part: dict[str, Any]) -> None:
    asked = task()
    asked["httpRequest"] = {"url": "http://a/", "method": "POST"} | part
    answer = await client.post(BATCH, json={"tasks": [asked]})
    (name,) = part
    assert [fault["field"] for fault in answer.json()["errors"]] == [f"tasks.0.httpRequest.{name}"]


async def test_large_batches_are_read_on_another_thread_one_of_an_owner_at_a_time(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = await api.owner("first-shop")
    second, _ = await api.owner("second-shop")
    seen: list[tuple[int, bool]] = []
    real = batch_reading.read_batch

    def note(body: bytes, *more: Any, **named: Any) -> Any:
        seen.append((len(json.loads(body)["tasks"]), threading.current_thread() is threading.main_thread()))
        return real(body, *more, **named)

    monkeypatch.setattr(batch_reading, "read_batch", note)
    monkeypatch.setattr(task_routes, "_ASIDE_BYTES", 200)
    answers = await asyncio.gather(
        *(first.post(BATCH, json={"tasks": [task()] * 5}) for _ in range(3)),
        second.post(BATCH, json={"tasks": [task()] * 7}),
        first.post(BATCH, json={"tasks": [task()]}),
    )
    assert {answer.status_code for answer in answers} == {201}
    aside = [count for count, here in seen if not here]
    assert sorted(aside) == [5, 5, 5, 7]
    assert aside.index(7) <= 1, "the second owner waits for one of the first, not for all"
    assert [count for count, here in seen if here] == [1]


GOOD = {"httpRequest": {"url": "http://a/", "method": "POST", "data": {"n": 1.50}}}
BATCHES: list[Any] = [
    {"tasks": [GOOD, {"handler": {"name": "default", "payload": {"b": 1e400}}}, GOOD]},
    {"tasks": [GOOD, {"httpRequest": {"url": "htp:/x", "method": "NO"}}, {"config": 5}, 7]},
    {"tasks": []},
    {"tasks": 5},
    {"tasks": None},
    {"task": [GOOD]},
    {"tasks": [GOOD], "more": 1},
    [GOOD],
    5,
    {"tasks": [GOOD] * 1_001},
]


@pytest.mark.parametrize("number", range(len(BATCHES)))
async def test_a_batch_is_judged_alike_however_it_is_read(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    body = json.dumps(BATCHES[number]).replace("Infinity", "1e400").encode()
    kind = {"Content-Type": "application/json"}
    whole = await client.post(BATCH, content=body, headers=kind)
    monkeypatch.setattr(batch_reading, "LARGE_BYTES", 0)
    parts = await client.post(BATCH, content=body, headers=kind)
    assert parts.status_code == whole.status_code
    if whole.status_code == 400:
        assert [fault["field"] for fault in parts.json()["errors"]] == [
            fault["field"] for fault in whole.json()["errors"]
        ]
        assert parts.json()["code"] == whole.json()["code"]
    else:
        ids = [[one["id"] for one in answer.json()["tasks"]] for answer in (whole, parts)]
        specs = [[(await client.get(f"/v1/queues/{one}/config")).text for one in made] for made in ids]
        assert specs[0] == specs[1]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"tasks": [{"a": 1}, {"b": ]}', "malformed_json"),
        (b'{"tasks": [' + b"[" * 5_000 + b"]" * 5_000 + b"]}", "malformed_json"),
        (b'{"tasks": [{"httpRequest": {"url": "http://a/\\ud800", "method": "GET"}}]}', "malformed_json"),
        (b"\x1f\x8b\x08", "malformed_json"),
        (b'{"tasks": [{"httpRequest": {"data": "' + b"x" * 300_000 + b'"}}]}', "invalid_request"),
    ],
)
async def test_what_is_wrong_with_a_large_batch_is_told(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, body: bytes, told: str
) -> None:
    monkeypatch.setattr(batch_reading, "LARGE_BYTES", 0)
    answer = await client.post(BATCH, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, told)
    if told == "invalid_request":
        assert "300029 bytes; a task of a batch may have 262144" in answer.json()["errors"][0]["message"]


async def repeated(api: Api, client: httpx.AsyncClient, count: int) -> str:
    """The path of a task that has run so often."""
    config = {"executionDelay": 0, "repeat": 1_000, "repeatInterval": 1, "repeatExponential": False}
    path = f"/v1/queues/{(await client.post('/v1/queues/register', json=task(**config))).json()['id']}"
    for _ in range(count):
        api.clock.advance(10)
        assert await worked(api.store, api.clock, Outcome(OutcomeKind.SUCCESS, 200)) == 1
    return path


async def test_attempts_come_in_pages(api: Api, client: httpx.AsyncClient) -> None:
    path = await repeated(api, client, 7)
    numbers, link = [], f"{path}/attempts?limit=3"
    while link:
        answer = await client.get(link)
        numbers.append([one["number"] for one in answer.json()])
        link = answer.headers.get("link", "").partition(">")[0].lstrip("<")
    assert numbers == [[1, 2, 3], [4, 5, 6], [7]]
    refused = await client.get(f"{path}/attempts?limit=0&cursor=x")
    assert {fault["field"] for fault in refused.json()["errors"]} == {"query.limit", "query.cursor"}


async def test_a_timeline_tells_of_the_last_attempts_and_what_it_leaves_out(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HISTORY_MAX", 4)
    monkeypatch.setattr(Door.newest_attempts, "__defaults__", (4,))
    path = await repeated(api, client, 7)
    told = (await client.get(f"{path}/timeline")).json()
    assert [entry["attempt"] for entry in told if entry["event"] == "started"] == [4, 5, 6, 7]
    (left_out,) = [entry["detail"] for entry in told if entry["event"] == "history_pruned"]
    assert left_out == "attempts 1 to 3 are left out here; the list of attempts has what is kept of them"
