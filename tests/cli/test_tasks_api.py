"""The requests that docs/tasks-api.md prints work as printed: against a real server, by curl where it is installed."""

import re
import shlex
import shutil
import subprocess
from typing import Any

import httpx
import msgspec
import pytest

from tests.cli.conftest import DEADLINE_SECONDS, Cli, Serve, until
from tests.tidy.documents import DOCS

pytestmark = pytest.mark.process

HERE = "http://127.0.0.1:9420"


def printed() -> list[str]:
    """The commands of the page, in order; the first starts the server."""
    return re.findall(r"```sh\n(.*?)```", (DOCS / "tasks-api.md").read_text(), re.S)


def sent(command: str, url: str, task_id: str) -> tuple[int, Any]:
    """The status and the JSON that a printed command brings."""
    command = command.replace(HERE, url).replace("$ID", task_id)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[0] == "curl"
    if shutil.which("curl") is None:
        return _by_hand(words[1:])
    script = command.rstrip().replace("curl", "curl -sS -w '\\n%{http_code}'", 1)
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    assert ended.returncode == 0, ended.stderr
    body, _, status = ended.stdout.rpartition("\n")
    return int(status), msgspec.json.decode(body) if body else None


def _by_hand(words: list[str]) -> tuple[int, Any]:
    """The same without curl."""
    method, url, headers, body = "GET", "", {}, None
    rest = iter(words)
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(":")
            headers[name] = value.strip()
        elif word == "-d":
            body = next(rest)
        else:
            assert not word.startswith("-"), word
            url = word
    answer = httpx.request(method, url, headers=headers, content=body)
    return answer.status_code, answer.json() if answer.content else None


def test_the_printed_requests_work(serve: Serve, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, *commands = printed()
    setting = re.fullmatch(r"(\w+)=(\S+) tasks-server serve\n", begin)
    assert setting
    monkeypatch.setenv(setting[1], setting[2])
    server = serve()
    assert [owner["name"] for owner in cli("owner", "list", "--json").json()] == ["local-user"]
    run, show, later, patch, delete, recurring, listed, health, stats = commands

    def ask(command: str, task_id: str = "") -> tuple[int, Any]:
        return sent(command, server.url, task_id)

    status, made = ask(run.replace('"http://127.0.0.1:9420/status"', f'"{server.url}/status"'))
    assert (status, list(made)) == (201, ["id"])
    until(lambda: ask(show, made["id"])[1]["status"] not in ("pending", "processing"), "the task is done")
    status, task = ask(show, made["id"])
    assert (status, task["status"], task["result"], task["task_name"]) == (200, "completed", "OK", "curl")

    status, waiting = ask(later)
    assert status == 201
    _, task = ask(show, waiting["id"])
    assert (task["status"], task["priority"], task["max_retries"]) == ("pending", 9, 5)
    assert (task["scheduled_at"], task["payload"]) == ("2030-01-31T12:00:00.000Z", {"to": "you@example.com"})
    status, task = ask(patch, waiting["id"])
    assert (status, task["scheduled_at"]) == (200, "2030-02-28T12:00:00.000Z")
    assert ask(delete, waiting["id"]) == (204, None)
    status, cancelled = ask(show, waiting["id"])
    assert (status, cancelled["status"]) == (200, "cancelled")
    status, refused = ask(delete, made["id"])
    assert (status, refused["code"]) == (409, "task_not_pending")

    status, schedule = ask(recurring)
    assert (status, list(schedule)) == (201, ["id"])
    status, found = ask(listed)
    assert (status, [entry["id"] for entry in found]) == (200, [made["id"]])
    until(lambda: ask(health)[1]["checks"]["engine"]["status"] == "ok", "the engine has told of itself")
    assert ask(health)[0] == 200
    status, counted = ask(stats)
    assert (status, counted["completed"], counted["cancelled"], counted["total"]) == (200, 1, 1, 2)


def test_the_commands_need_no_more_of_curl_than_the_test_knows() -> None:
    for command in printed()[1:]:
        words = shlex.split(command.replace("\\\n", " "))
        assert {word for word in words if word.startswith("-")} <= {"-X", "-H", "-d"}


def test_a_default_owner_goes_with_loopback_only(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFAULT_OWNER", "local-user")
    done = cli("serve", "--host", "0.0.0.0", "--port", "0")
    assert done.code != 0
    assert "DEFAULT_OWNER is local-user" in done.err
    assert "set HOST to 127.0.0.1" in done.err
    monkeypatch.setenv("DEFAULT_OWNER", "no")
    done = cli("serve", "--port", "0")
    assert done.code != 0
    assert "DEFAULT_OWNER: must be 5 to 32 of a-z" in done.err
