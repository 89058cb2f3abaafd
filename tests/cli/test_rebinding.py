"""A page in a real browser whose name comes to lead to this server: nothing is answered that needs no key."""

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.cli.conftest import DEADLINE_SECONDS, Serve

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.process, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

NAME = "rebound.test"
ROUTES = (
    *(("POST", "/v1/owners/register"), ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/monitor/health")),
    *(("POST", "/tasks"), ("GET", "/tasks"), ("GET", "/monitor/stats")),
)
PAGE = """<!doctype html><title>page</title><pre id=found></pre><script>
const routes = %s, found = {};
(async () => {
  for (const [method, path] of routes) {
    const body = method === "POST" ? JSON.stringify({name: "evil-shop", task_name: "default"}) : undefined;
    const answer = await fetch(path, {method, body, headers: body ? {"Content-Type": "application/json"} : {}});
    found[method + " " + path] = [answer.status, (await answer.text()).slice(0, 2000)];
  }
  document.getElementById("found").textContent = "FOUND" + JSON.stringify(found) + "END";
})();
</script>"""


class Rebound:
    """Who has the name. The first connection gets the page; then the name leads to the server, byte for byte."""

    def __init__(self, server: str) -> None:
        self._to = (urlsplit(server).hostname, urlsplit(server).port)
        self._listener = socket.create_server(("127.0.0.2", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client:
            head = client.recv(65_536)
            if head.startswith(b"GET / "):
                page = (PAGE % msgspec.json.encode(ROUTES).decode()).encode()
                lines = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                client.sendall(lines % len(page) + page)
            elif head:
                with socket.create_connection(self._to) as server:
                    server.sendall(head)
                    back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                    back.start()
                    _pump(client, server)
                    back.join(DEADLINE_SECONDS)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while part := source.recv(65_536):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def rebound(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rebound]:
    monkeypatch.setenv("DEFAULT_OWNER", "small-shop")
    made = Rebound(serve().url)
    yield made
    made.close()


def test_a_page_whose_name_was_rebound_gets_nothing(rebound: Rebound, tmp_path: Path) -> None:
    flags = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}"),
        *(f"--host-resolver-rules=MAP {NAME} 127.0.0.2", "--virtual-time-budget=10000", "--dump-dom"),
    ]
    assert CHROMIUM is not None
    shown = subprocess.run(
        [CHROMIUM, *flags, f"http://{NAME}:{rebound.port}/"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    match = re.search(r"FOUND(\{.*\})END", shown.stdout, re.DOTALL)
    assert match is not None, shown.stdout + shown.stderr
    found = msgspec.json.decode(match[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    assert {route: status for route, (status, _) in found.items()} == dict.fromkeys(
        (f"{method} {path}" for method, path in ROUTES), 403
    )
    assert all('"host_unknown"' in text for _, text in found.values())
