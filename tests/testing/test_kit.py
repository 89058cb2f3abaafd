"""The testing kit: a server with a clock that is moved, and tasks that are recorded instead of sent."""

import asyncio
import re
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks_server import handlers
from tasks_server.client import AsyncClient, Client
from tasks_server.handlers.registry import registered
from tasks_server.testing import Recorder, TestServer
from tests.tidy.documents import ROOT

pytestmark = pytest.mark.process


def test_a_server_whose_clock_is_moved(tasks_server: TestServer, tasks_client: Client) -> None:
    url = f"{tasks_server.url}/status"
    later = tasks_client.tasks.register(url=url, method="GET", delay="1d")
    retried = tasks_client.tasks.register(url="http://127.0.0.1:9/", method="GET", retry=1)
    before = tasks_server.now_ms()
    tasks_server.advance("23h")
    assert tasks_client.tasks.get(later.id).phase == "scheduled"
    assert tasks_server.now_ms() - before >= 23 * 3_600_000
    tasks_server.advance(timedelta(hours=1))
    assert tasks_client.tasks.wait(later.id, timeout=30).response == b"OK"
    assert tasks_client.tasks.wait(retried.id, timeout=30).attempts == 2
    with pytest.raises(ValueError, match="time only goes on"):
        tasks_server.advance(timedelta(seconds=-1))


def test_nothing_is_left_of_a_server(tmp_path: Path) -> None:
    module = tmp_path / "kit_handlers.py"
    module.write_text(
        "from tasks_server import handlers\n\n\n@handlers.register('kit-add')\ndef add(pair: list[int]) -> int:\n"
        "    return sum(pair)\n"
    )
    threads = {thread.name for thread in threading.enumerate()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with TestServer(handlers=["kit_handlers"]) as server:
            folder = Path(server._folder.name)
            made = server.client.tasks.register(handler="kit-add", payload=[3, 4])
            assert server.client.tasks.wait(made.id, timeout=30).response == b"7"
        assert not folder.exists()
        with pytest.raises(Exception, match="cannot be imported"), TestServer(handlers=["no_such_module"]):
            pass
    assert {thread.name for thread in threading.enumerate() if thread.name == "tasks-server"} <= threads


@pytest.fixture
def _a_register_of_its_own() -> Any:
    before = dict(registered)
    registered.clear()
    yield
    registered.clear()
    registered.update(before)


@pytest.mark.usefixtures("_a_register_of_its_own")
def test_tasks_are_recorded_instead_of_sent(tasks_recorded: Recorder) -> None:
    @handlers.register("ship")
    def ship(order: int) -> None: ...

    ship.enqueue(7, delay="5m", idempotency_key="ship-7")
    assert ship.enqueue(7, delay="5m", idempotency_key="ship-7").id == tasks_recorded.tasks[0].id
    asyncio.run(ship.enqueue_async(8))
    with Client("http://tasks.test", "k" * 64) as client:
        client.tasks.register(url="https://shop.test/", data={"order": 9}, metadata={"a": "b"})
        client.tasks.register_batch([{"url": "https://shop.test/2"}])
        client.handler_tasks.create("ship", 10)
        with pytest.raises(AssertionError, match="GET /v1/queues/x: tasks are recorded, not sent"):
            client.tasks.get("x")
    assert tasks_recorded.enqueued(ship) == tasks_recorded.enqueued("ship") == [7, 8, 10]
    first, _, third, fourth, _ = tasks_recorded.tasks
    assert (first.handler, first.payload, first.config) == ("ship", 7, {"executionDelay": "5m"})
    assert (third.url, third.data, third.metadata) == ("https://shop.test/", {"order": 9}, {"a": "b"})
    assert fourth.url == "https://shop.test/2"
    tasks_recorded.clear()
    assert tasks_recorded.tasks == []

    async def register() -> None:
        async with AsyncClient("http://tasks.test") as client:
            await client.tasks.register(url="https://shop.test/")

    asyncio.run(register())
    assert [task.url for task in tasks_recorded.tasks] == ["https://shop.test/"]


def test_the_plugin_loads_nothing_until_it_is_used() -> None:
    code = "import sys, tasks_server.testing.plugin\nprint(sorted(n for n in sys.modules if n in {names!r}))"
    names = ("apsw", "granian", "httpx", "msgspec", "tasks_server.client", "tasks_server.wiring")
    done = subprocess.run([sys.executable, "-c", code.format(names=names)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_documentation_as_it_stands(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "testing.md").read_text(), re.S)
    for number, text in enumerate(blocks):
        (tmp_path / f"test_shop_{number}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "5 passed" in ran.stdout
