"""`tasks-server task explain`, and what real engines that come and go are told to be."""

import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import Cli, Serve, until


def test_a_task_is_explained(cli: Cli) -> None:
    assert cli("owner", "create", "first-shop").code == 0
    made = cli("task", "submit", "http://127.0.0.1:1/", "--owner", "first-shop", "--delay", "1h", "--json").json()
    shown = cli("task", "explain", made["id"])
    assert shown.out.startswith("It is due in 59 min")
    assert "Wait, or run it now." in shown.out
    assert "no engine has ever run on this database" in shown.out
    assert "Earliest start" not in shown.out
    explained = cli("task", "explain", made["id"], "--json").json()
    assert (explained["phase"], explained["runnable"], explained["estimateAt"]) == ("scheduled", False, None)
    assert [gate["gate"] for gate in explained["gates"] if gate["closed"]] == ["due", "engine"]
    assert cli("task", "pause", made["id"]).code == 0
    assert "(by the operator)" in cli("task", "explain", made["id"]).out
    assert cli("task", "explain", "0" * 24).code != 0


@pytest.mark.process
def test_engines_that_come_die_and_stop(serve: Serve) -> None:
    api = serve("--role", "api")
    registered = httpx.post(f"{api.url}/v1/owners/register", json={"name": "first-shop"}).json()
    headers = {"Authorization": f"Bearer {registered['key']}"}

    def submit(**config: Any) -> str:
        asked = {"httpRequest": {"url": f"{api.url}/status", "method": "GET"}, "config": config}
        return str(httpx.post(f"{api.url}/v1/queues/register", json=asked, headers=headers).json()["id"])

    def explained(task_id: str) -> dict[str, Any]:
        answer = httpx.get(f"{api.url}/v1/queues/{task_id}/explain", headers=headers)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    first, later = submit(), submit(executionDelay=3_600_000)
    assert explained(first)["summary"].startswith("No engine has ever run on this database. Start one: ")
    engine = serve("--role", "engine")
    until(lambda: explained(first)["state"] == "SUCCESS", "the delivery")
    until(lambda: explained(later)["engines"]["alive"] == 1, "the engine tells of itself")
    assert [gate["gate"] for gate in explained(later)["gates"] if gate["closed"]] == ["due"]
    engine.process.kill()  # its engine goes with it
    until(lambda: explained(later)["engines"]["alive"] == 0, "the engine's death is seen")
    assert "no engine is running since" in str(explained(later)["gates"])
    second = serve("--role", "engine")
    until(lambda: explained(later)["engines"]["alive"] == 1, "the next engine tells of itself")
    assert second.stop(signal.SIGTERM) == 0
    assert "when the last one was stopped" in str(explained(later)["gates"])


@pytest.mark.process
def test_a_handler_that_no_engine_knows_until_a_worker_comes(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from tasks_server import handlers\n\n@handlers.register('send-mail')\ndef send(payload): return payload\n"
    (tmp_path / "mail_tasks.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = serve()
    registered = httpx.post(f"{server.url}/v1/owners/register", json={"name": "first-shop"}).json()
    headers = {"Authorization": f"Bearer {registered['key']}"}
    asked = {"handler": {"name": "send-mail", "payload": 7}}
    made = httpx.post(f"{server.url}/v1/queues/register", json=asked, headers=headers).json()

    def explained() -> dict[str, Any]:
        told: dict[str, Any] = httpx.get(f"{server.url}/v1/queues/{made['id']}/explain", headers=headers).json()
        return told

    until(lambda: explained()["engines"]["alive"] == 1, "the engine tells of itself")
    told = explained()
    assert told["summary"].startswith(
        "No engine that is running knows the handler send-mail (1 running). Start a worker"
    )
    assert [gate["gate"] for gate in told["gates"] if gate["closed"]] == ["handler"]
    serve("--role", "engine", "--handlers", "mail_tasks", "--handlers-only")
    until(lambda: explained()["state"] == "SUCCESS", "the worker runs it")
