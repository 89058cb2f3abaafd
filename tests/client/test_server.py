"""Both clients and a real server; and the documentation, whose Python is run word for word."""

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasks_server.client import AsyncClient, Client, NotFound
from tasks_server.client.outbox import SQLITE, Drained, Outbox
from tests.cli.conftest import Serve
from tests.client.test_outbox import Breaking
from tests.tidy.documents import ROOT

pytestmark = pytest.mark.process


def blocks(path: str, section: str = "") -> str:
    """The Python of a file, or of one section of it."""
    text = (ROOT / path).read_text()
    if section:
        text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = re.findall(r"```python\n(.*?)```", text, re.S)
    assert found
    return "\n".join(found)


def test_a_real_server(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = serve().url
    monkeypatch.chdir(tmp_path)
    with Client(url) as stranger:
        key = stranger.owners.register("small-shop").key
    speak(url, key)
    asyncio.run(speak_async(url, key))
    die_between_sending_and_taking_out(url, key)
    monkeypatch.setenv("KEY", key)
    exec(blocks("README.md", "From Python").replace("http://127.0.0.1:9420", url), {})
    assert capsys.readouterr().out == "SUCCESS\n"
    namespace: dict[str, Any] = {}
    exec(blocks("docs/client.md").replace("http://127.0.0.1:9420", url), namespace)
    namespace["client"].close()
    namespace["database"].close()
    said = capsys.readouterr().out
    assert said.startswith("SUCCESS 200 b'OK'\n")
    assert "Drained(sent=1, refused=0)" in said
    assert "httpRequest.url has the scheme ftp" in said


def speak(url: str, key: str) -> None:
    with Client(url, key) as client:
        tasks = client.tasks.register_batch({"url": f"{url}/status", "method": "GET"} for _ in range(3)).tasks
        tasks.append(client.tasks.register(url=f"{url}/status", method="GET", delay="1ms"))
        assert {client.tasks.wait(task.id).response for task in tasks} == {b"OK"}
        assert [task.id for task in client.tasks.list(page_size=2)] == [task.id for task in tasks]
        shouted: Any = {"state": "success", "sort": "ASC"}  # words are taken in any case
        assert [task.id for task in client.tasks.list(**shouted)] == [task.id for task in tasks]
        assert client.bulk.wait(client.bulk.create("delete", states=["SUCCESS"]).id).changed == len(tasks)
        with pytest.raises(NotFound):
            client.tasks.get("T" * 24)


async def speak_async(url: str, key: str) -> None:
    async with AsyncClient(url, key) as client:
        tasks = await asyncio.gather(*(client.tasks.register(url=f"{url}/status", method="GET") for _ in range(3)))
        ended = await asyncio.gather(*(client.tasks.wait(task.id) for task in tasks))
        assert {task.response for task in ended} == {b"OK"}


def die_between_sending_and_taking_out(url: str, key: str) -> None:
    """However often it is sent, it is one task."""
    outbox = Outbox(sqlite3)
    with Client(url, key) as client, closing(sqlite3.connect(":memory:")) as connection:
        outbox.create(connection, SQLITE)
        outbox.add(connection, url=f"{url}/status", delay="1h", metadata={"order": "8"})
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                outbox.drain(Breaking(connection), client)
        assert outbox.drain(connection, client) == Drained(1, 0)
        assert len([*client.tasks.list(metadata={"order": "8"})]) == 1
