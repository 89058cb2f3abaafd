"""Bodies on their way: given up when they come too slowly, and dropped when all of them hold too much."""

import asyncio
import gc
import json
from typing import Any

import httpx
import pytest

from tasks_server.api.app import ApiConfig
from tasks_server.api.inflow import FREE_BYTES, RATE_MIN_BYTES, Pieces

from .conftest import ADMIN_KEY, Api, task

KIB = 1_024
ROOM = 1_024 * KIB
TIMEOUT_SECONDS = 60.0


@pytest.fixture
def config() -> ApiConfig:
    limit = ROOM // 2
    return ApiConfig(
        admin_key=ADMIN_KEY,
        registration="open",
        body_max_bytes=limit,
        batch_max_bytes=limit,
        tasks_max_bytes=limit,
        bodies_max_bytes=ROOM,
        client_timeout_seconds=TIMEOUT_SECONDS,
    )


class Upload:
    """A request whose body comes when the test sends it."""

    def __init__(self, api: Api, key: str, length: int | None = None, path: str = "/v1/queues/batch") -> None:
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        headers += [(b"authorization", f"Bearer {key}".encode())] if key else []
        headers += [(b"content-length", b"%d" % length)] if length is not None else []
        self.scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"", "http_version": "1.1",
            "headers": headers, "client": ("127.0.0.1", "50000"),
        }  # fmt: skip
        self.asked = 0
        self._parts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sent: list[Any] = []
        self._served = asyncio.create_task(api.app(self.scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        self.asked += 1
        return await self._parts.get()

    async def _send(self, message: Any) -> None:
        self._sent.append(message)

    async def bring(self, part: bytes, more: bool = True) -> None:
        """Sends a part, and waits until the next one is asked for, or none is any more."""
        asked = self.asked
        self._parts.put_nowait({"type": "http.request", "body": part, "more_body": more})
        while self.asked == asked and not self._served.done():
            await asyncio.sleep(0)

    async def begun(self) -> "Upload":
        while not self.asked and not self._served.done():
            await asyncio.sleep(0)
        return self

    @property
    def ended(self) -> bool:
        return self._served.done()

    async def answer(self) -> tuple[int, str]:
        await self._served
        start, body = self._sent
        answer = httpx.Response(start["status"], content=body["body"])
        return answer.status_code, "" if answer.is_success else answer.json()["code"]


async def key_of(api: Api, name: str) -> str:
    return str((await api.owner(name))[1]["key"])


def sweep(api: Api, seconds: float) -> None:
    """Time passes, and slow bodies are looked for."""
    api.clock.advance(round(seconds * 1_000))
    api.app.inflow.drop_slow()


# Slow ones


@pytest.mark.parametrize("length", [1_000, None], ids=["with a length", "chunked"])
@pytest.mark.parametrize("first", [b"", b'{"tasks": ['], ids=["nothing came", "a part came"])
async def test_a_body_that_does_not_come_is_given_up(api: Api, length: int | None, first: bytes) -> None:
    upload = await Upload(api, await key_of(api, "slow-shop"), length).begun()
    if first:
        await upload.bring(first)
    assert api.app.inflow.peers(awaited=False) == set()
    assert api.app.inflow.peers(awaited=True) == {("127.0.0.1", "50000")}
    sweep(api, 0)
    sweep(api, TIMEOUT_SECONDS - 0.1)
    await asyncio.sleep(0)
    assert not upload.ended
    sweep(api, 0.1)
    assert await upload.answer() == (408, "body_timeout")
    assert not api.app.inflow.awaits()
    assert api.logged == []


async def test_a_body_that_goes_on_has_the_time_again(api: Api) -> None:
    upload = await Upload(api, await key_of(api, "slow-shop")).begun()
    for _ in range(2):
        sweep(api, TIMEOUT_SECONDS / 2)
        await upload.bring(b" " * RATE_MIN_BYTES * 30)
        sweep(api, TIMEOUT_SECONDS / 2 - 1)
    await upload.bring(json.dumps({"tasks": [task()]}).encode(), more=False)
    assert await upload.answer() == (201, "")


async def test_a_body_that_trickles_is_given_up(api: Api) -> None:
    """A byte now and then does not keep it going for ever."""
    upload = await Upload(api, await key_of(api, "slow-shop")).begun()
    for _ in range(10):
        sweep(api, TIMEOUT_SECONDS / 4)
        if upload.ended:
            break
        await upload.bring(b" ")
    assert await upload.answer() == (408, "body_timeout")


async def test_who_works_on_a_whole_body_is_left_alone(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on, insert = asyncio.Event(), asyncio.Event(), api.store.insert

    async def slow(*arguments: Any) -> Any:
        entered.set()
        await go_on.wait()
        return await insert(*arguments)

    monkeypatch.setattr(api.store, "insert", slow)
    asked = asyncio.create_task(client.post("/v1/queues/register", json=task()))
    await entered.wait()
    assert len(api.app.inflow.peers(awaited=False)) == 1
    assert not api.app.inflow.awaits()
    for _ in range(3):
        sweep(api, TIMEOUT_SECONDS)
    go_on.set()
    assert (await asked).status_code == 201
    assert api.app.inflow.peers(awaited=True) == set()


async def test_a_request_that_is_cancelled_stays_cancelled(api: Api) -> None:
    upload = await Upload(api, await key_of(api, "slow-shop")).begun()
    upload._served.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload._served
    assert not api.app.inflow.awaits()


# Many


async def test_all_bodies_together_hold_no_more_than_they_may(api: Api) -> None:
    uploads = [await Upload(api, await key_of(api, f"owner-{number:02}")).begun() for number in range(40)]
    for _ in range(4):
        for upload in uploads:
            if not upload.ended:
                await upload.bring(b" " * (64 * KIB))
            assert api.app.inflow.total <= ROOM
    for upload in uploads:
        if not upload.ended:
            await upload.bring(json.dumps({"tasks": [task()]}).encode(), more=False)
    answers = [await upload.answer() for upload in uploads]
    assert set(answers) == {(503, "bodies_full"), (201, "")}
    assert answers.count((201, "")) >= ROOM // (5 * 64 * KIB), "no more are dropped than have to be"
    assert api.app.inflow.total == 0


async def test_who_holds_the_most_makes_room_for_another(api: Api) -> None:
    hog, other = await key_of(api, "the-hog"), await key_of(api, "another")
    stalled = [await Upload(api, hog).begun() for _ in range(16)]
    for upload in stalled:
        await upload.bring(b" " * (64 * KIB))
    assert api.app.inflow.total == ROOM

    more = await Upload(api, hog).begun()
    await more.bring(b" " * (64 * KIB))
    assert await more.answer() == (503, "bodies_full")
    assert not any(upload.ended for upload in stalled)

    body = json.dumps({"tasks": [task()]}).encode().ljust(64 * KIB)
    upload = await Upload(api, other).begun()
    await upload.bring(body[:-1])
    await upload.bring(body[-1:], more=False)
    assert await upload.answer() == (201, "")
    assert await stalled[0].answer() == (503, "bodies_full")
    assert not any(upload.ended for upload in stalled[1:])
    for upload in stalled[1:]:
        upload._served.cancel()


@pytest.mark.parametrize("given_up", ["slow", "dropped", "refused"])
async def test_what_a_body_held_is_free_at_once(api: Api, given_up: str) -> None:
    """Not only when somebody looks for garbage, which is seldom done here."""
    hog, other = await key_of(api, "the-hog"), await key_of(api, "another")
    uploads = [await Upload(api, hog).begun() for _ in range(16)]
    for upload in uploads:
        await upload.bring(b" " * (64 * KIB))
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        if given_up == "slow":
            sweep(api, 0)
            sweep(api, TIMEOUT_SECONDS)
            assert await uploads[0].answer() == (408, "body_timeout")
        else:
            newcomer = await Upload(api, other if given_up == "dropped" else hog).begun()
            await newcomer.bring(b" " * (64 * KIB))
            assert await (uploads[0] if given_up == "dropped" else newcomer).answer() == (503, "bodies_full")
        gc.collect()
        assert [kept for kept in gc.garbage if isinstance(kept, Pieces)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    for upload in uploads:
        upload._served.cancel()


async def test_small_bodies_always_get_in(api: Api) -> None:
    hog = await key_of(api, "the-hog")
    stalled = [await Upload(api, hog).begun() for _ in range(16)]
    for upload in stalled:
        await upload.bring(b" " * (64 * KIB))
    answer = await api.client(hog).post("/v1/queues/register", json=task())
    assert answer.status_code == 201
    assert len(json.dumps(task())) <= FREE_BYTES
    for upload in stalled:
        upload._served.cancel()


async def test_a_refusal_says_when_to_come_again(api: Api) -> None:
    hog = await key_of(api, "the-hog")
    stalled = [await Upload(api, hog).begun() for _ in range(16)]
    for upload in stalled:
        await upload.bring(b" " * (64 * KIB))
    body = json.dumps({"tasks": [task()]}).encode().ljust(64 * KIB)
    answer = await api.client(hog).post("/v1/queues/batch", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (503, "bodies_full")
    assert int(answer.headers["retry-after"]) >= 1
    for upload in stalled:
        upload._served.cancel()


async def test_a_body_is_not_waited_for_before_the_key_is_known(api: Api) -> None:
    for key in ("", "x" * 64, "no-key"):
        for path in ("/v1/queues/register", "/v1/queues/batch", "/tasks", "/v1/schedules"):
            upload = Upload(api, key, 100, path)
            assert (await upload.answer())[0] == 401
            assert upload.asked == 0


async def test_what_anybody_may_send_is_small(api: Api) -> None:
    answer = await api.client().post("/v1/owners/register", json={"name": "small-shop", "x": "y" * 20_000})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(("length", "asked"), [(None, 2), (0, 1)], ids=["chunked", "with a length"])
async def test_a_body_whose_length_is_there_is_whole(api: Api, length: int | None, asked: int) -> None:
    body = json.dumps({"tasks": [task()]}).encode()
    upload = await Upload(api, await key_of(api, "small-shop"), None if length is None else len(body)).begun()
    await upload.bring(body)
    if asked > 1:
        await upload.bring(b"", more=False)
    assert await upload.answer() == (201, "")
    assert upload.asked == asked
