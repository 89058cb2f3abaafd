"""Who a real server lets in without a key, over real connections: the Host of HTTP/1.0, 1.1 and 2, and proxies."""

import json
import re
import socket
from collections.abc import Sequence

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from tests.cli.conftest import DEADLINE_SECONDS, Cli, Serve, Server

pytestmark = pytest.mark.process


def told(server: Server, head: str, *headers: str, body: str = "") -> tuple[int, str]:
    """The status and the code of the answer to just these bytes."""
    address = ("127.0.0.1", httpx.URL(server.url).port or 0)
    request = "\r\n".join([head, *headers, f"Content-Length: {len(body)}", "Connection: close", "", body])
    with socket.create_connection(address, DEADLINE_SECONDS) as client:
        client.sendall(request.encode("latin-1"))
        answer = client.makefile("rb").read()
    status = re.match(rb"HTTP/1\.[01] (\d+)", answer)
    assert status, answer
    code = re.search(rb'"code":"(\w+)"', answer)
    return int(status[1]), code[1].decode() if code else ""


def told_over_http2(server: Server, headers: Sequence[tuple[str, str]]) -> tuple[int, str]:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
    connection.initiate_connection()
    connection.send_headers(1, [(":method", "GET"), (":scheme", "http"), (":path", "/status"), *headers], True)
    status, body, ended = 0, b"", False
    address = ("127.0.0.1", httpx.URL(server.url).port or 0)
    with socket.create_connection(address, DEADLINE_SECONDS) as client:
        while not ended:
            client.sendall(connection.data_to_send())
            for event in connection.receive_data(client.recv(65_536)):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                ended = ended or isinstance(event, h2.events.StreamEnded | h2.events.StreamReset)
    return status, json.loads(body)["code"] if body != b"OK" else ""


def test_a_request_has_one_host(serve: Serve) -> None:
    server = serve("--role", "api")
    for path in ("/status", "/v1/queues", "/nowhere"):
        for hosts in (["Host: localhost", "Host: localhost"], [], ["Host:"], ["Host: a b"], ["Host: user@localhost"]):
            assert told(server, f"GET {path} HTTP/1.1", *hosts) == (400, "host_invalid"), hosts
    assert told(server, "GET /status HTTP/1.0") == (200, "")
    assert told(server, "GET /status HTTP/1.1", "Host: rebound.example") == (403, "host_unknown")
    assert told(server, "GET /status HTTP/1.1", "Host: LOCALHOST:80") == (200, "")
    assert told_over_http2(server, [(":authority", "localhost")]) == (200, "")
    assert told_over_http2(server, [(":authority", "rebound.example")]) == (403, "host_unknown")
    assert told_over_http2(server, [("host", "rebound.example")]) == (403, "host_unknown")
    assert told_over_http2(server, [("cookie", "a=b")]) == (400, "host_invalid")


def test_owners_are_registered_by_who_is_on_the_machine(serve: Serve) -> None:
    server = serve("--role", "api")
    head, json_sent = "POST /v1/owners/register HTTP/1.1", "Content-Type: application/json"
    register = '{"name": "led-astray"}'
    for headers, refusal in (
        (["Host: rebound.example"], (403, "host_unknown")),
        (["Host: localhost", "Origin: http://elsewhere.example"], (403, "cross_site")),
        (["Host: localhost", "X-Forwarded-For: 203.0.113.9"], (401, "registration_closed")),
    ):
        assert told(server, head, json_sent, *headers, body=register) == refusal
    plain_proxy = "POST /v1/owners/register HTTP/1.0"
    assert told(server, plain_proxy, json_sent, "Host: localhost", body=register) == (401, "registration_closed")
    assert told(server, head, json_sent, "Host: localhost", body=register) == (201, "")


def test_the_operator_may_name_more_hosts(serve: Serve, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "tasks.example.com, *.corp.example")
    server = serve("--role", "api")
    for host, status in (("tasks.example.com", 200), ("a.corp.example:8080", 200), ("example.com", 403)):
        assert told(server, "GET /monitor/health HTTP/1.1", f"Host: {host}")[0] == status
    monkeypatch.setenv("ALLOWED_HOSTS", "https://tasks.example.com")
    assert "ALLOWED_HOSTS: 'https://tasks.example.com' is no name of a host" in cli("settings").err


def test_the_machine_goes_by_its_own_name(serve: Serve) -> None:
    server = serve("--role", "api")
    name = socket.gethostname()
    assert told(server, "GET /status HTTP/1.1", f"Host: {name}:9420") == (200, "")
