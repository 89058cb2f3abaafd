"""The bounds of a call hold with the options that few tasks have, and what they leave behind is bounded, too."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.request import TaskConfig
from tests.engine.http.asking import ask, asked
from tests.engine.http.authority import Authority, server_context
from tests.engine.http.driver import RESPONSE_MAX_BYTES, Driver
from tests.engine.http.proxies import HttpProxy
from tests.engine.http.target import Connection, Received, Target, answer, hang


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder: Path = tmp_path_factory.mktemp("tls")
    with Target(tls=server_context(Authority().issue("server", "127.0.0.1"), folder)) as running:
        yield running


@pytest.fixture
def proxy() -> Iterator[HttpProxy]:
    with HttpProxy() as running:
        yield running


async def garbage(connection: Connection, _request: Received) -> None:
    await connection.send(b"\x00\xff nothing that HTTP knows\r\n\r\n")
    await connection.close()


def options(proxy: HttpProxy) -> dict[str, Any]:
    return {"insecure": True, "proxy": {"protocol": "http", "host": "127.0.0.1", "port": proxy.port}}


def test_of_a_large_answer_the_first_part_is_kept(http: Driver, secure: Target, proxy: HttpProxy) -> None:
    secure.scripts["/large"] = answer(200, b"x" * (RESPONSE_MAX_BYTES + 1))
    outcome = ask(http, secure.url("/large"), options(proxy), authBasic={"username": "a", "password": "secret"})
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.SUCCESS, 200)
    assert (outcome.response, outcome.response_truncated) == (b"x" * RESPONSE_MAX_BYTES, True)


def test_what_was_packed_without_being_asked_for_stays_packed(http: Driver, secure: Target, proxy: HttpProxy) -> None:
    bomb = gzip.compress(b"x" * 100_000)
    secure.scripts["/bomb"] = answer(200, bomb, Content_Encoding="gzip")
    assert ask(http, secure.url("/bomb"), options(proxy)).response == bomb


def test_a_target_that_never_ends_runs_into_the_timeout(http: Driver, secure: Target, proxy: HttpProxy) -> None:
    secure.scripts["/never"] = hang
    waiting = asked(secure.url("/never"), options(proxy))
    waiting.timeout_ms = 300
    assert http.run(waiting)[0].kind is OutcomeKind.TIMEOUT
    assert ask(http, secure.url("/ok"), options(proxy)).response == b"ok"


def test_garbage_is_told_in_plain_words(http: Driver, secure: Target, target: Target) -> None:
    secure.scripts["/garbage"] = target.scripts["127.0.0.1:1"] = garbage
    outcome = ask(http, secure.url("/garbage"), {"insecure": True})
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
    assert (outcome.error or "").startswith(f"127.0.0.1:{secure.port} did not answer in HTTP")
    config = {"proxy": {"protocol": "http", "host": "127.0.0.1", "port": target.port}}
    assert ask(http, "https://127.0.0.1:1/", config).kind is OutcomeKind.CONNECTION


def test_identities_are_forgotten_in_the_end(target: Target) -> None:
    with Driver() as http:
        identities = http.client._transfers._handles.identities
        for number in range(identities._idle_max + 5):
            resolve = [{"host": f"h{number}.test", "port": target.port, "address": ["127.0.0.1"]}]
            assert ask(http, f"http://h{number}.test:{target.port}/", {"resolve": resolve}).response == b"ok"
        assert len(identities) == identities._idle_max
        target.wait(lambda seen: seen.closed == 5)
        assert len(http.client._transfers._handles.idle) == 0, "no handle with options of a task is kept"
    assert len(identities) == 0
    target.wait(lambda seen: seen.closed == seen.opened)


def test_a_dropped_call_gives_its_identity_back(http: Driver, target: Target) -> None:
    target.scripts["/"] = hang
    dropped = asked(target.url(), {"insecure": True})
    http.client.send([dropped])
    target.wait(lambda seen: len(seen.received) == 1)
    http.client.abort([dropped.token])
    assert http.get(target.url("/ok"), config=TaskConfig(insecure=True)).response == b"ok"
    assert not http.client._transfers._handles.identities._busy
