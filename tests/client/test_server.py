"""Both clients and a real server; and the documentation, whose Python is run word for word."""

import asyncio
import re

import pytest

from tasks_server.client import AsyncClient, Client, NotFound
from tests.cli.conftest import Serve
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


def test_a_real_server(serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    url = serve().url
    with Client(url) as stranger:
        key = stranger.owners.register("small-shop").key
    speak(url, key)
    asyncio.run(speak_async(url, key))
    monkeypatch.setenv("KEY", key)
    exec(blocks("README.md", "From Python").replace("http://127.0.0.1:9420", url), {})
    assert capsys.readouterr().out == "SUCCESS\n"
    namespace: dict[str, Client] = {}
    exec(blocks("docs/client.md").replace("http://127.0.0.1:9420", url), namespace)
    namespace["client"].close()
    said = capsys.readouterr().out
    assert said.startswith("SUCCESS 200 b'OK'\n")
    assert "httpRequest.url has the scheme ftp" in said


def speak(url: str, key: str) -> None:
    with Client(url, key) as client:
        tasks = client.tasks.register_batch({"url": f"{url}/status", "method": "GET"} for _ in range(3)).tasks
        tasks.append(client.tasks.register(url=f"{url}/status", method="GET", delay=1))
        assert {client.tasks.wait(task.id).response for task in tasks} == {b"OK"}
        assert [task.id for task in client.tasks.list(page_size=2)] == [task.id for task in tasks]
        with pytest.raises(NotFound):
            client.tasks.get("T" * 24)


async def speak_async(url: str, key: str) -> None:
    async with AsyncClient(url, key) as client:
        tasks = await asyncio.gather(*(client.tasks.register(url=f"{url}/status", method="GET") for _ in range(3)))
        ended = await asyncio.gather(*(client.tasks.wait(task.id) for task in tasks))
        assert {task.response for task in ended} == {b"OK"}
