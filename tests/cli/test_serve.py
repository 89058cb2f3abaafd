"""A real server: starting, serving, surviving, stopping, and what it says when it cannot start."""

import gzip
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.cli.conftest import DEADLINE_SECONDS, Cli, Serve, Server, lives, until

pytestmark = pytest.mark.process


def register(server: Server, name: str = "small-shop") -> dict[str, str]:
    """An owner, as headers for its requests."""
    answer = httpx.post(f"{server.url}/v1/owners/register", json={"name": name})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['key']}"}


def submit(server: Server, headers: dict[str, str], url: str, **config: Any) -> str:
    body = {"httpRequest": {"url": url, "method": "GET"}, "config": config}
    answer = httpx.post(f"{server.url}/v1/queues/register", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def state(server: Server, headers: dict[str, str], task_id: str) -> str:
    answer = httpx.get(f"{server.url}/v1/queues/{task_id}", headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["state"])


def serve_in_vain(*flags: str, **environment: str) -> tuple[int, str]:
    """The exit status and the error output of a server that cannot start."""
    command = [sys.executable, "-m", "tasks_server", "serve", "--port", "0", *flags]
    ended = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("path", ["/tasks", "/v1/queues/register"])
def test_bodies_that_do_not_come_whole_are_told_so(serve: Serve, path: str) -> None:
    server = serve("--role", "api")
    headers = [f"POST {path} HTTP/1.1", "Host: test", "Content-Type: application/json"]
    headers += [f"{name}: {value}" for name, value in register(server).items()]
    address = ("127.0.0.1", httpx.URL(server.url).port or 0)
    for framing, body in (("Transfer-Encoding: chunked", "ZZ\r\n"), ("Content-Length: 100", '{"a": ')):
        sent = "\r\n".join([*headers, framing, "", body]).encode()
        with socket.create_connection(address, DEADLINE_SECONDS) as gone:
            gone.sendall(sent)
        with socket.create_connection(address, DEADLINE_SECONDS) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            answer = client.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert b"application/problem+json" in answer
        assert b'"malformed_body"' in answer
    assert server.stop() == 0
    assert "unexpected" not in server.log()
    assert "Traceback" not in server.log()


def test_it_starts_delivers_and_stops(serve: Serve, data_dir: Path) -> None:
    server = serve()
    assert str(data_dir / "tasks.sqlite") in server.banner
    assert str(data_dir / "cipher.key") in server.banner
    headers = register(server)
    task_id = submit(server, headers, f"{server.url}/status")
    until(lambda: state(server, headers, task_id) == "SUCCESS", "the delivery")
    children = server.pids("api") + server.pids("engine")
    assert len(children) == 2
    assert server.stop() == 0
    assert not any(lives(pid) for pid in children)


def test_what_users_of_other_systems_send(serve: Serve) -> None:
    """Long tokens and signed URLs, words in any case; a body that is compressed or in UTF-16 is told what it is."""
    server = serve()
    headers = register(server)
    request: dict[str, Any] = {
        "url": f"{server.url}/status?pretty={'t' * 5_000}",
        "method": "get",
        "transport": "CURL",
    }
    request["headers"] = {"Authorization": f"Bearer {'t' * 4_000}"}
    body = msgspec.json.encode({"httpRequest": request, "config": {"proto": "HTTP"}})

    def send(content: bytes, **more: str) -> httpx.Response:
        everything = {**headers, "Content-Type": "application/json", **more}
        return httpx.post(f"{server.url}/v1/queues/register", content=content, headers=everything)

    packed = send(gzip.compress(body), **{"Content-Encoding": "gzip"})
    assert (packed.status_code, packed.json()["code"]) == (415, "content_encoding_unsupported")
    assert "is compressed (gzip)" in send(gzip.compress(body)).json()["detail"]
    assert "is text in UTF-16" in send(body.decode().encode("utf-16")).json()["detail"]
    task_id = send(b"\xef\xbb\xbf" + body).json()["id"]
    until(lambda: state(server, headers, task_id) == "SUCCESS", "the task is sent")
    listed = httpx.get(f"{server.url}/v1/queues?state=success&sort=DESC", headers=headers).json()
    assert [task["id"] for task in listed] == [task_id]


def test_what_was_stored_is_there_after_a_restart(serve: Serve) -> None:
    first = serve("--role", "api")
    headers = register(first)
    task_id = submit(first, headers, f"{first.url}/status")
    assert first.stop() == 0
    second = serve()
    assert "Register the first owner" in first.banner
    assert "Register the first owner" not in second.banner
    task_url = submit(second, headers, f"{second.url}/status")
    until(lambda: state(second, headers, task_url) == "SUCCESS", "the delivery of the new task")
    until(lambda: state(second, headers, task_id) != "RUNNING", "the end of the old task, whose target is gone")


def test_killed_processes_come_back_and_nothing_is_lost(serve: Serve) -> None:
    server = serve()
    headers = register(server)
    for role in ("engine", "api"):
        (before,) = server.pids(role)
        os.kill(before, signal.SIGKILL)
        until(lambda role=role, before=before: server.pids(role) not in ([], [before]), f"the next {role}")  # type: ignore[misc]  # a default in a lambda
        task_id = submit(server, headers, f"{server.url}/status")
        until(lambda task_id=task_id: state(server, headers, task_id) == "SUCCESS", "the delivery")  # type: ignore[misc]  # a default in a lambda


def test_children_and_port_go_when_the_supervisor_is_killed(serve: Serve, data_dir: Path) -> None:
    server = serve()
    headers = register(server)
    children = server.pids("api") + server.pids("engine")
    server.process.kill()
    until(lambda: not any(lives(pid) for pid in children), "the end of the children")
    port = server.url.rpartition(":")[2]
    again = serve("--port", port)
    assert again.url == server.url
    assert httpx.get(f"{again.url}/v1/queues", headers=headers).json() == []


def test_several_api_processes_share_the_port(serve: Serve) -> None:
    server = serve("--api-workers", "2", "--role", "api")
    until(lambda: len(server.pids("api")) == 2, "both processes")
    headers = register(server)
    for _ in range(20):
        assert httpx.get(f"{server.url}/v1/queues", headers=headers).status_code == 200
    assert server.pids("engine") == []


def test_two_servers_share_one_database(serve: Serve) -> None:
    first = serve()
    second = serve("--role", "api")
    headers = register(second)
    task_id = submit(second, headers, f"{first.url}/status")
    until(lambda: state(first, headers, task_id) == "SUCCESS", "the delivery by the other server")


def test_the_command_line_reaches_a_running_server(serve: Serve, cli: Cli) -> None:
    server = serve()
    assert cli("owner", "create", "small-shop").code == 0
    result = cli("task", "submit", f"{server.url}/status", "--owner", "small-shop", "--json")
    task_id = msgspec.json.decode(result.out)["id"]
    until(lambda: '"completed"' in cli("task", "show", task_id, "--json").out, "the delivery")


def test_calls_in_flight_may_end_within_the_grace_time(serve: Serve, cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        server = serve("--grace-seconds", "60")
        headers = register(server)
        task_id = submit(server, headers, f"http://127.0.0.1:{target.getsockname()[1]}/slow")
        call, _ = target.accept()
        with call:
            assert b"GET /slow" in call.recv(65_536)
            server.process.terminate()
            until(lambda: '"event":"stopping"' in server.log(), "the signal")
            call.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert server.process.wait(DEADLINE_SECONDS) == 0
        assert '"completed"' in cli("task", "show", task_id, "--json").out


def test_calls_beyond_the_grace_time_are_given_back(serve: Serve, cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        server = serve("--grace-seconds", "0")
        headers = register(server)
        task_id = submit(server, headers, f"http://127.0.0.1:{target.getsockname()[1]}/slow")
        call, _ = target.accept()
        with call:
            assert b"GET /slow" in call.recv(65_536)
            assert server.stop() == 0
        told = cli("task", "show", task_id, "--json").json()
        assert isinstance(told, dict)
        assert (told["phase"], told["failures"], told["attempt"]) == ("available", 0, 1)


def test_registration_is_closed_beyond_loopback(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_KEY", "an-admin-key-for-this-test")
    server = serve("--host", "0.0.0.0", "--role", "api")
    url = server.url
    assert url.startswith("http://127.0.0.1:")
    assert httpx.post(f"{url}/v1/owners/register", json={"name": "small-shop"}).status_code == 401
    admin = {"Authorization": "Bearer an-admin-key-for-this-test"}
    assert httpx.post(f"{url}/v1/owners/register", json={"name": "small-shop"}, headers=admin).status_code == 201


def test_settings_reach_the_api(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAGGER_UI", "false")
    monkeypatch.setenv("MAX_SIZE_BODY_REQUEST", "1024")
    monkeypatch.setenv("MAX_THROTTLE_REQUEST", "3")
    monkeypatch.setenv("MAX_THROTTLE_TIME_WINDOW", "3600000")
    monkeypatch.setenv("WORKER_ID", "7")
    server = serve("--role", "api")
    headers = register(server)
    assert httpx.get(f"{server.url}/docs").status_code == 404
    body = {"httpRequest": {"url": "http://x.test", "method": "POST", "data": "x" * 2_000}}
    assert httpx.post(f"{server.url}/v1/queues/register", json=body, headers=headers).status_code == 413
    statuses = [httpx.get(f"{server.url}/v1/queues", headers=headers).status_code for _ in range(4)]
    assert statuses[-1] == 429
    assert "WORKER_ID is set, but has no effect" in server.log()


# What cannot start


def test_a_port_in_use(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = serve_in_vain("--port", str(port))
    assert status == 4
    assert said.startswith(f"tasks-server: cannot listen on 127.0.0.1:{port}: the port is in use")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("host", "why"), [("203.0.113.7", "does not have that address"), ("no such host", "there is no such address")]
)
def test_an_address_that_is_not_ours(host: str, why: str) -> None:
    status, said = serve_in_vain("--host", host)
    assert status == 4
    assert why in said


def test_wrong_settings() -> None:
    status, said = serve_in_vain("--role", "everything", PORT="x")
    assert status == 2
    assert said.startswith("tasks-server: ")
    assert "--role" in said


def test_a_data_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, said = serve_in_vain("--data-dir", str(tmp_path / "file" / "data"))
    assert status == 3
    assert "cannot make the data folder" in said


def test_a_damaged_database(serve: Serve, data_dir: Path) -> None:
    serve("--role", "api").stop()
    (data_dir / "tasks.sqlite").write_bytes(b"this is no database at all" * 1_000)
    status, said = serve_in_vain()
    assert status == 3
    assert said.count("tasks-server: ") == 1
    assert str(data_dir / "tasks.sqlite") in said


def test_a_key_that_is_gone(serve: Serve, data_dir: Path) -> None:
    serve("--role", "api").stop()
    (data_dir / "cipher.key").unlink()
    status, said = serve_in_vain()
    assert status == 3
    assert "put the key file back" in said


def test_another_key(serve: Serve, data_dir: Path) -> None:
    serve("--role", "api").stop()
    status, said = serve_in_vain(CIPHER_KEY="a" * 64)
    assert status == 3
    assert said.count("tasks-server: ") == 1
    assert f"{data_dir}/tasks.sqlite: stored data is sealed under another cipher key than that of CIPHER_KEY;" in said
    assert "aaaa" not in said
    (data_dir / "cipher.key").write_text("b" * 64)
    status, said = serve_in_vain()
    assert status == 3
    assert f"another cipher key than that of {data_dir}/cipher.key;" in said
    assert "bbbb" not in said
