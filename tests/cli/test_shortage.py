"""A server with few descriptors, against a real target: nothing fails for lack of them."""

import resource

import httpx
import pytest

from tests.cli.conftest import DEADLINE_SECONDS, Serve, until
from tests.engine.http.target import Connection, Received, Target, answer

pytestmark = pytest.mark.process

COUNT = 300
FILES = 80


async def held(connection: Connection, _request: Received) -> None:
    await connection.target.released.wait()
    await connection.send(answer(200, b"ok"))


def test_with_80_descriptors_300_calls_at_once_all_succeed(serve: Serve) -> None:
    server = serve()
    (engine,) = server.pids("engine")
    resource.prlimit(engine, resource.RLIMIT_NOFILE, (FILES, FILES))
    with Target(scripts={"/": held}) as target, httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
        owner = client.post("/v1/owners/register", json={"name": "small-shop"}).json()
        client.headers["Authorization"] = f"Bearer {owner['key']}"
        task = {"httpRequest": {"url": target.url(), "method": "GET"}}
        made = client.post("/v1/queues/batch", json={"tasks": [task] * COUNT})
        assert made.status_code == 201, made.text

        def states() -> list[str]:
            return [one["state"] for one in client.get("/v1/queues", params={"limit": 1_000}).json()]

        until(lambda: "resources_short" in server.log(), "the engine to run short")
        target.release()
        until(lambda: "RUNNING" not in states(), "the end of all tasks")
        failed = client.get("/v1/logs", params={"state": "ERROR"}).text
        assert failed == "[]"
        assert states() == ["SUCCESS"] * COUNT
