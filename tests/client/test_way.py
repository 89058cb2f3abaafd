"""The way to the server: which proxies of the environment are used, whose certificates count, and what is said when
that cannot be.
"""

import asyncio
import gc
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasks_server.client import AsyncClient, Client, ConnectionFailed, Retries
from tasks_server.client import way as way_module
from tasks_server.client.way import way_to
from tests.client.scripted import DETAIL, KEY
from tests.engine.http.authority import Authority, server_context
from tests.engine.http.proxies import SocksProxy
from tests.engine.http.target import Target, answer

ID = "T" * 24
ONCE = Retries(deadline=0)
ELSEWHERE = "0.0.0.0"
"""An address that leads to this machine and is not known to: proxies are used for it."""

Get = Callable[[str], str]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL"):
            monkeypatch.delenv(name)


def get_sync(url: str) -> str:
    with Client(url, KEY, retries=ONCE) as client:
        return client.tasks.get(ID).id


def get_async(url: str) -> str:
    async def run() -> str:
        async with AsyncClient(url, KEY, retries=ONCE) as client:
            return (await client.tasks.get(ID)).id

    return asyncio.run(run())


@pytest.fixture(params=[get_sync, get_async], ids=["sync", "async"])
def get(request: pytest.FixtureRequest) -> Get:
    """Asks a server for a task, by each of the two clients."""
    asked: Get = request.param
    return asked


def scripted(url: str = "", **options: Any) -> Target:
    """A server with one task; as a proxy sees it, with a URL before its path."""
    body = answer(200, msgspec.json.encode(DETAIL), Content_Type="application/json")

    async def task(connection: Any, _: Any) -> None:
        await connection.send(body)

    return Target(scripts={f"{url}/v1/queues/{ID}": task}, **options)


@pytest.fixture
def server() -> Iterator[Target]:
    with scripted() as running:
        yield running


# Proxies


def test_through_socks(get: Get, server: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    with SocksProxy() as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5://me:secret@127.0.0.1:{proxy.port}")
        assert get(server.url(host=ELSEWHERE)) == ID
        assert proxy.asked == [("5", ELSEWHERE, server.port)]
        assert proxy.logins == [("me", "secret")]
        monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{proxy.port}")
        assert get(server.url(host=ELSEWHERE)) == ID
        assert len(proxy.asked) == 2


@pytest.mark.parametrize("written", ["http://me:secret@127.0.0.1:{}", "me:secret@127.0.0.1:{}"])
def test_through_http(get: Get, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    url = "http://api.test:9420"
    with scripted(url) as proxy:
        monkeypatch.setenv("http_proxy", written.format(proxy.port))
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
        assert get(url) == ID
        assert [request.path for request in proxy.received] == [f"{url}/v1/queues/{ID}"]
        assert proxy.last.header("Proxy-Authorization") == "Basic bWU6c2VjcmV0"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://127.0.0.1:1", "socks4://nobody", "http://[::1", "%"])
def test_this_machine_is_reached_without_one(
    get: Get, server: Target, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """Whatever it is, also where nobody installed what it takes: the key goes nowhere else."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setattr(way_module, "SOCKS_ERRORS", ())
    assert get(server.url()) == ID
    for host in ("localhost", "api.localhost", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"):
        assert way_to(f"http://{host}:9420")["proxy"] is None


@pytest.mark.parametrize(
    ("exceptions", "host"),
    [
        ("*", "api.test"),
        ("other.test, api.test", "api.test"),
        ("test", "api.test"),
        (".test", "api.test"),
        ("*.test", "api.test"),
        ("API.test:9420", "api.test"),
        ("10.0.0.0/8 x", "10.1.2.3"),
        ("10.1.2.3:9420", "10.1.2.3"),
        ("fd00::/8", "[fd00::1]"),
        ("[fd00::1]:9420", "[fd00::1]"),
        ("[fd00::1]", "[fd00::1]"),
    ],
)
def test_no_proxy_is_obeyed(monkeypatch: pytest.MonkeyPatch, exceptions: str, host: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    url = f"http://{host}:9420"
    assert way_to(url)["proxy"] is not None
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert way_to(url)["proxy"] is None


@pytest.mark.parametrize(
    "exceptions", ["", ",", "pi.test", "api.test:80", "10.0.0.0/99", "fe80::/200", "[::1", "::", "[", "http://", "."]
)
def test_what_no_proxy_does_not_name_goes_through_it(monkeypatch: pytest.MonkeyPatch, exceptions: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    for host in ("api.test", "10.1.2.3", "[fd00::1]"):
        assert way_to(f"http://{host}:9420")["proxy"] is not None


def test_the_schemes_own_variable_comes_first_and_an_empty_one_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all.test:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://https.test:2")
    monkeypatch.setenv("HTTP_PROXY", "http://upper.test:3")
    monkeypatch.setenv("http_proxy", "http://lower.test:3")
    assert [str(way_to(f"{scheme}://api.test")["proxy"].url.host) for scheme in ("http", "https")] == [
        "lower.test", "https.test"
    ]  # fmt: skip
    monkeypatch.setenv("http_proxy", "")
    assert way_to("http://api.test")["proxy"].url.host == "all.test"


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("socks4://me:s3cret@p.test:1080", "the client can use proxies of http, https, socks5, socks5h"),
        ("socks://p.test:1080", "the client can use proxies of http, https, socks5, socks5h"),
        ("ftp://p.test", "the client can use proxies of"),
        ("http://me:s3cret@p.test:port", "which is no URL of a proxy"),
        ("http://me:s3cret@[::1", "which is no URL of a proxy"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_proxy_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, proxy: str, told: str, kind: type[Client]
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ValueError, match=told) as caught:
        kind("http://api.test")
    assert str(caught.value).startswith("ALL_PROXY is ")
    assert "s3cret" not in str(caught.value)


def test_what_socks_takes_is_said_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way_module, "SOCKS_ERRORS", ())
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:s3cret@proxy.test:1080")
    with pytest.raises(ValueError, match="for SOCKS proxies, install") as told:
        Client("https://api.test")
    assert str(told.value).startswith("HTTPS_PROXY is socks5://…@proxy.test:1080: ")
    assert "tasks-server[socks]; or name api.test in NO_PROXY" in str(told.value)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # httpx leaves the connection to the garbage collector
@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\x05", b"\x05\xff"])
def test_a_socks_proxy_that_is_none_is_a_failed_connection(
    get: Get, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4_096)
                connection.sendall(said)

        talking = threading.Thread(target=talk)
        talking.start()
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(ConnectionFailed) as caught:
            get(f"http://{ELSEWHERE}:9420")
        talking.join()
    assert not caught.value.uncertain
    del caught
    gc.collect()


# Certificates


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def secure(authority: Authority, tmp_path: Path) -> Iterator[Target]:
    with scripted(tls=server_context(authority.issue("server", "127.0.0.1"), tmp_path)) as running:
        yield running


def test_the_authorities_of_the_environment_are_trusted(
    get: Get, secure: Target, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConnectionFailed, match="certificate"):
        get(secure.url())
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert get(secure.url()) == ID
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert get(secure.url()) == ID


def broken(path: Path) -> str:
    path.write_text("no certificate\n")
    return str(path)


ODD: list[tuple[str, Callable[[Path], str], str]] = [
    ("SSL_CERT_FILE", str, "No such file or directory"),
    ("SSL_CERT_FILE", broken, "it holds none in PEM form"),
    ("SSL_CERT_FILE", lambda path: str(path.parent), "cannot be loaded"),
    ("SSL_CERT_DIR", str, "there is no such folder"),
    ("SSL_CERT_DIR", broken, "there is no such folder"),
    ("SSLKEYLOGFILE", lambda path: str(path / "keys"), "No such file or directory"),
]


@pytest.mark.parametrize(("name", "make", "told"), ODD)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_cannot_be_loaded_is_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    make: Callable[[Path], str],
    told: str,
    kind: type[Client],
) -> None:
    value = make(tmp_path / "odd")
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=told) as caught:
        kind("https://api.test")
    assert f"{name} is {value}" in str(caught.value)


@pytest.mark.parametrize(("name", "make", "_told"), ODD)
def test_without_tls_none_of_it_matters(
    server: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, make: Callable[[Path], str], _told: str
) -> None:
    monkeypatch.setenv(name, make(tmp_path / "odd"))
    assert get_sync(server.url()) == ID


def test_empty_is_not_set(secure: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "")
    with pytest.raises(ConnectionFailed, match="certificate"):
        get_sync(secure.url())
