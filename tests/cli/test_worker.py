"""A worker beside a server: handlers end to end, what it leaves to others, and what it says when it cannot start."""

import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.cli.conftest import DEADLINE_SECONDS, Cli, Serve, Server, lives, until
from tests.postgres.databases import Databases

pytestmark = pytest.mark.process

TASKS = """
import asyncio, os, time
from dataclasses import dataclass
from pathlib import Path
from tasks_server import handlers, Context, Retry, Permanent

HERE = Path(__file__).parent

@dataclass
class Mail:
    to: str
    copies: int = 0

@handlers.register("send-mail", timeout=60, max_retries=5)
async def send_mail(payload: Mail, context: Context) -> dict:
    return {"to": payload.to, "attempt": context.attempt, **context.metadata}

@handlers.register("flaky", max_retries=3, retry_delay=0.01)
def flaky(payload, context: Context):
    if context.attempt <= payload:
        raise ValueError(f"attempt {context.attempt}")
    return {"attempt": context.attempt, "failures": context.failures}

@handlers.register("odd-name")
async def odd_name(payload):
    raise ValueError(os.fsdecode(b"caf\\xe9\\0.txt"))

@handlers.register("too-slow", timeout=2, max_retries=9, retry_delay=0.01)
def too_slow(payload, context: Context):
    if context.attempt == 1:
        time.sleep(3600)
    return context.attempt

@handlers.register("environment")
def environment(payload):
    return [name for name in payload if name in os.environ]

@handlers.register("hang", timeout=60)
async def hang(payload):
    (HERE / f"hangs-{payload}").touch()
    await asyncio.sleep(3600)

@handlers.register("notes", timeout=60)
async def notes(payload, context: Context):
    context.log("skipped order 7")
    context.progress(0.4, "40 of 100 sent")
    while not (HERE / "go-on").exists():
        await asyncio.sleep(0.01)
    context.progress(1, "all sent")

@handlers.register("crash", max_retries=1, retry_delay=0.01)
def crash(payload, context: Context):
    if context.attempt == 1:
        os._exit(1)
    return "second time lucky"
"""


class Client:
    """An owner of a server."""

    def __init__(self, server: Server) -> None:
        key = os.environ.get("ADMIN_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = httpx.post(f"{server.url}/v1/owners/register", json={"name": "small-shop"}, headers=headers)
        self._http = httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {answer.json()['key']}"}, timeout=DEADLINE_SECONDS
        )

    def close(self) -> None:
        self._http.close()

    def submit(self, body: dict[str, Any]) -> str:
        answer = self._http.post("/v1/queues/register", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def handler(self, name: str, payload: Any = None, **config: Any) -> str:
        return self.submit({"handler": {"name": name, "payload": payload}, "config": config})

    def task(self, task_id: str) -> dict[str, Any]:
        answer = self._http.get(f"/v1/queues/{task_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def final(self, task_id: str) -> dict[str, Any]:
        until(lambda: self.task(task_id)["state"] not in ("RUNNING", "PAUSED"), f"the end of {task_id}")
        return self.task(task_id)

    def result(self, task_id: str) -> Any:
        task = self.final(task_id)
        assert task["state"] == "SUCCESS", task
        return msgspec.json.decode(base64.b64decode(task["response"]))

    def attempts(self, task_id: str) -> list[tuple[str, int]]:
        answer = self._http.get(f"/v1/queues/{task_id}/attempts")
        return [(one["outcome"], one["statusCode"]) for one in answer.json()]

    def get(self, path: str) -> Any:
        answer = self._http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def steer(self, task_id: str, verb: str) -> None:
        assert self._http.patch(f"/v1/queues/{task_id}/{verb}").status_code == 200


Worker = Callable[..., Server]
Connect = Callable[[Server], Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes an owner at a server."""
    with contextlib.ExitStack() as stack:

        def make(server: Server) -> Client:
            client = Client(server)
            stack.callback(client.close)
            return client

        yield make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop_tasks.py").write_text(TASKS)
    return tmp_path


@pytest.fixture
def worker(serve: Serve, connect: Connect, folder: Path) -> Callable[..., Server]:
    def start(*flags: str) -> Server:
        return serve(*flags, command=("worker",), folder=folder)

    return start


def runners(worker: Server) -> list[int]:
    """The processes in which the handlers of a worker run."""
    (engine,) = worker.pids("engine")
    found: list[int] = []
    for thread in Path(f"/proc/{engine}/task").iterdir():
        found += [int(pid) for pid in (thread / "children").read_text().split()]
    return found


def test_handlers_run_beside_http_tasks(serve: Serve, connect: Connect, worker: Worker) -> None:
    client = connect(api := serve("--role", "api"))
    handler = {"name": "send-mail", "payload": {"to": "a@b.example"}}
    mail = client.submit({"handler": handler, "metadata": {"order": "17"}})
    flaky = client.handler("flaky", 2)
    stranger, odd = client.handler("nobody-knows"), client.handler("odd-name")
    http = client.submit({"httpRequest": {"url": f"{api.url}/status", "method": "GET"}})
    fetched = client.handler("curl", f"{api.url}/status")
    logged = client.handler("default", {"hello": "world"})
    bad = client.handler("send-mail", {"to": 7})
    started = worker("--handlers", "shop_tasks")
    assert "Handlers  shop_tasks" in started.banner
    assert client.result(mail) == {"to": "a@b.example", "attempt": 1, "order": "17"}
    assert client.result(flaky) == {"attempt": 3, "failures": 2}
    assert client.attempts(flaky) == [("handler_error", 500), ("handler_error", 500), ("success", 200)]
    assert client.final(http)["statusCode"] == 200
    assert base64.b64decode(client.final(fetched)["response"]) == b"OK"
    assert client.final(logged)["state"] == "SUCCESS"
    assert (client.final(bad)["state"], client.final(bad)["statusCode"]) == ("ERROR", 422)
    assert client.attempts(bad) == [("handler_error", 422)]
    assert (client.final(odd)["state"], client.attempts(odd)) == ("ERROR", [("handler_error", 500)])
    error = client.get(f"/v1/queues/{odd}/attempts")[0]["error"]
    assert error.startswith("ValueError: caf\\udce9\\x00.txt (")
    assert client.task(stranger)["state"] == "RUNNING"
    assert '{\\"hello\\":\\"world\\"}' in started.log()
    assert started.stop() == 0


def test_what_a_handler_notes_is_shown_while_it_runs_and_afterwards(
    serve: Serve, connect: Connect, worker: Worker, folder: Path, cli: Cli
) -> None:
    client = connect(serve("--role", "api"))
    worker("--handlers", "shop_tasks")
    task_id = client.handler("notes")

    def told() -> list[str]:
        return [one["detail"] for one in client.get(f"/v1/queues/{task_id}/timeline") if one["event"] == "progressed"]

    until(lambda: bool(told()), "notes of a handler that runs")
    assert told() == ["40 of 100 sent"]
    assert client.task(task_id)["state"] == "RUNNING"
    shown = cli("task", "show", task_id).out
    assert "skipped order 7" in shown
    assert "40 of 100 sent" in shown
    (folder / "go-on").touch()
    assert client.final(task_id)["state"] == "SUCCESS"
    (attempt,) = client.get(f"/v1/queues/{task_id}/attempts")
    notes = attempt["notes"]
    assert (notes["progress"], notes["message"]) == (1, "all sent")
    assert [line["text"] for line in notes["lines"]] == ["skipped order 7"]
    shown = cli("task", "show", task_id).out
    assert "skipped order 7" in shown
    assert "all sent" in shown


def test_handlers_get_the_environment_without_the_servers_secrets(
    serve: Serve, connect: Connect, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_KEY", "the-operator-of-this-server")
    monkeypatch.setenv("SHOP_TOKEN", "of the handlers")
    client = connect(serve("--role", "api"))
    worker("--handlers", "shop_tasks")
    assert client.result(client.handler("environment", ["ADMIN_KEY", "SHOP_TOKEN", "PATH"])) == ["SHOP_TOKEN", "PATH"]


def test_what_takes_too_long_or_crashes_is_tried_again(serve: Serve, connect: Connect, worker: Worker) -> None:
    client = connect(serve("--role", "api"))
    worker("--handlers", "shop_tasks", "--handler-isolation", "task", "--handler-processes", "2")
    slow, crash = client.handler("too-slow"), client.handler("crash")
    assert client.result(slow) >= 2
    first, *_, last = client.attempts(slow)
    assert (first, last) == (("timeout", 408), ("success", 200))
    assert client.result(crash) == "second time lucky"
    assert client.attempts(crash) == [("crashed", 500), ("success", 200)]


def test_a_paused_task_is_stopped(serve: Serve, connect: Connect, worker: Worker, folder: Path) -> None:
    client = connect(serve("--role", "api"))
    started = worker("--handlers", "shop_tasks")
    task_id = client.handler("hang", 1)
    until((folder / "hangs-1").exists, "the handler to begin")
    client.steer(task_id, "pause")
    assert client.task(task_id)["state"] == "PAUSED"
    assert client.result(client.handler("send-mail", {"to": "b"}))["to"] == "b"
    client.steer(task_id, "revoke")
    before = time.monotonic()
    assert started.stop() == 0
    assert time.monotonic() - before < DEADLINE_SECONDS


def test_a_stop_gives_back_what_runs(serve: Serve, connect: Connect, worker: Worker, folder: Path) -> None:
    client = connect(serve("--role", "api"))
    first = worker("--handlers", "shop_tasks", "--grace-seconds", "0")
    pids = runners(first)
    assert len(pids) == 1
    task_id = client.handler("hang", 1)
    until((folder / "hangs-1").exists, "the handler to begin")
    assert first.stop() == 0
    assert not any(lives(pid) for pid in pids)
    assert client.attempts(task_id) == [("interrupted", 0)]
    (folder / "hangs-1").unlink()
    worker("--handlers", "shop_tasks")
    until((folder / "hangs-1").exists, "the handler to begin again")


def test_its_runners_end_with_an_engine_that_dies(serve: Serve, connect: Connect, worker: Worker) -> None:
    client = connect(serve("--role", "api"))
    started = worker("--handlers", "shop_tasks")
    (pid,) = runners(started)
    (engine,) = started.pids("engine")
    os.kill(engine, signal.SIGKILL)
    until(lambda: not lives(pid), "the end of the runner")
    assert client.result(client.handler("send-mail", {"to": "a"}))["to"] == "a", "another engine took its place"


def test_a_worker_for_handlers_leaves_http_tasks(serve: Serve, connect: Connect, worker: Worker) -> None:
    client = connect(api := serve("--role", "api"))
    http = client.submit({"httpRequest": {"url": f"{api.url}/status", "method": "GET"}})
    mail = client.handler("send-mail", {"to": "a"})
    worker("--handlers", "shop_tasks", "--handlers-only")
    assert client.result(mail)["to"] == "a"
    assert client.attempts(http) == []
    worker()
    assert client.final(http)["statusCode"] == 200


def test_the_server_itself_may_run_handlers(serve: Serve, connect: Connect, folder: Path) -> None:
    client = connect(serve("--handlers", "shop_tasks", folder=folder))
    assert client.result(client.handler("send-mail", {"to": "a"}))["to"] == "a"


def test_an_engine_that_restarts_makes_calls_while_handlers_cannot_be_imported(
    serve: Serve, connect: Connect, folder: Path, cli: Cli
) -> None:
    server = serve("--handlers", "shop_tasks", folder=folder)
    client = connect(server)
    (folder / "shop_tasks.py").write_text("import half_a_deployment\n")
    (engine,) = server.pids("engine")
    os.kill(engine, signal.SIGKILL)
    mail = client.handler("send-mail", {"to": "a"})
    http = client.submit({"httpRequest": {"url": f"{server.url}/status", "method": "GET"}})
    logged, fetched = client.handler("default", 1), client.handler("curl", f"{server.url}/status")
    assert {client.final(task)["state"] for task in (http, logged, fetched)} == {"SUCCESS"}
    said = "ModuleNotFoundError: No module named 'half_a_deployment'"
    until(lambda: '"event":"handlers_not_loaded"' in server.log() and said in server.log(), "the line")

    def explained() -> dict[str, Any]:
        return dict(client.get(f"/v1/queues/{mail}/explain"))

    until(lambda: "cannot import its handlers since" in explained()["summary"], "the explanation")
    assert said not in explained()["summary"], "that is for the operator"
    until(lambda: said in cli("task", "explain", mail).out, "what the operator is told")
    assert "handlers cannot be imported" in cli("nodes").out
    health = httpx.get(f"{server.url}/monitor/health")
    assert (health.status_code, health.json()["checks"]["handlers"]["status"]) == (200, "failing")
    (folder / "shop_tasks.py").write_text(TASKS)
    assert client.result(mail)["to"] == "a"
    until(lambda: client.get("/monitor/health")["checks"]["handlers"]["status"] == "ok", "health")
    assert "process_died" in server.log()
    assert server.log().count('"role":"engine"') == 3, "started, died, started again: it has not ended since"


def test_an_engine_that_restarts_makes_calls_while_handlers_are_imported(
    serve: Serve, connect: Connect, folder: Path
) -> None:
    server = serve("--handlers", "shop_tasks", folder=folder)
    client = connect(server)
    (folder / "shop_tasks.py").write_text(TASKS + "\nwhile not (HERE / 'imported').exists(): time.sleep(0.01)\n")
    os.kill(server.pids("engine")[0], signal.SIGKILL)
    mail = client.handler("send-mail", {"to": "a"})
    http = client.submit({"httpRequest": {"url": f"{server.url}/status", "method": "GET"}})
    assert client.final(http)["state"] == "SUCCESS"
    assert client.task(mail)["state"] == "RUNNING"
    (folder / "imported").touch()
    assert client.result(mail)["to"] == "a"
    assert server.stop() == 0


def test_a_folder_may_have_any_name(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    (folder / "shop_tasks.py").write_text(TASKS)
    client = connect(serve("--handlers", "shop_tasks", folder=folder))
    assert client.result(client.handler("send-mail", {"to": "a"}))["to"] == "a"


def test_workers_share_the_handlers(serve: Serve, connect: Connect, worker: Worker, folder: Path) -> None:
    (folder / "more_tasks.py").write_text(
        "from tasks_server import handlers\n@handlers.register('more')\ndef more(payload): return 'more'\n"
    )
    client = connect(serve("--role", "api"))
    worker("--handlers", "shop_tasks")
    more = client.handler("more")
    worker("--handlers", "more_tasks,shop_tasks")
    assert client.result(more) == "more"


def start_in_vain(folder: Path, *flags: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "tasks_server", "worker", *flags],
        capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False, cwd=folder,
    )  # fmt: skip
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


def test_it_does_not_start_where_no_server_was(folder: Path, data_dir: Path) -> None:
    code, told = start_in_vain(folder, "--handlers", "shop_tasks")
    assert code == 3
    assert f"there is no database {data_dir}/tasks.sqlite: is this the data folder of a server?" in told
    assert not data_dir.exists()


def test_its_flags_are_named_as_they_are_typed(folder: Path) -> None:
    code, told = start_in_vain(folder, "--concurrency", "0")
    assert (code, "  --concurrency: input should be" in told) == (2, True), told


def test_it_says_why_it_cannot_start(folder: Path, cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    (folder / "broken_tasks.py").write_text("from tasks_server import handlers\n1 / 0\n")
    code, told = start_in_vain(folder, "--handlers", "broken_tasks")
    assert code == 5
    assert told.startswith("tasks-server: the handlers cannot be imported: ZeroDivisionError: division by zero\n")
    assert f'File "{folder}/broken_tasks.py", line 2' in told
    code, told = start_in_vain(folder, "--handlers", "no_such_tasks")
    assert code == 5
    assert f"No module named 'no_such_tasks' (modules are looked for in {folder} first)" in told


@pytest.mark.parametrize("name", ["/shop_tasks.py", "shop tasks", "shop-tasks", "a..b"])
def test_names_of_modules_are_checked_at_once(folder: Path, name: str) -> None:
    code, told = start_in_vain(folder, "--handlers", name)
    assert code == 2
    assert "is no name of a module; it is written as in Python, such as myapp.tasks" in told


@pytest.mark.parametrize(
    ("name", "meant"), [("shop_tasks.py", "shop_tasks"), ("./app/shop.py", "app.shop"), ("app.shop.py", "app.shop")]
)
def test_the_module_of_a_file_is_told(folder: Path, name: str, meant: str) -> None:
    code, told = start_in_vain(folder, "--handlers", name)
    assert (code, f"is a file; the name of its module is wanted: write {meant}" in told) == (2, True), told


@pytest.fixture
def on_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database with our tables, named by the environment; so is the key."""
    lent = Databases.lend(tmp_path)
    assert lent is not None
    monkeypatch.setenv("DATABASE_URL", lent)
    monkeypatch.setenv("CIPHER_KEY", "c" * 64)


@pytest.mark.usefixtures("on_postgres")
def test_workers_anywhere_share_a_database(serve: Serve, connect: Connect, worker: Worker, folder: Path) -> None:
    client = connect(serve("--role", "api"))
    tasks = [client.handler("flaky", number % 3) for number in range(50)]
    workers = [worker("--handlers", "shop_tasks", "--handlers-only") for _ in range(2)]
    assert [client.result(task)["attempt"] for task in tasks] == [number % 3 + 1 for number in range(50)]
    task_id = client.handler("hang", 1)
    until((folder / "hangs-1").exists, "the handler to begin")
    (folder / "hangs-1").unlink()
    for one in workers:
        os.kill(one.pids("engine")[0], signal.SIGKILL)
    until((folder / "hangs-1").exists, "the handler to begin again, by the engines that follow")
    assert client.attempts(task_id)[:1] == [("lost", 0)]
