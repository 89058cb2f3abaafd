"""The execution log on the command line."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tasks_server.clock import ManualClock, SystemClock
from tasks_server.domain.attempt import Outcome, OutcomeKind, Redirected
from tasks_server.settings.places import DATABASE_NAME
from tasks_server.store.keys import parse_keys
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore
from tests.api.conftest import worked
from tests.cli.conftest import Cli


@pytest.fixture
def tried(cli: Cli, data_dir: Path) -> list[str]:
    """Ids of three tasks of one owner, each tried once: the second without success."""
    cli("owner", "create", "small-shop")
    made = []
    for kind, status in ((OutcomeKind.SUCCESS, 200), (OutcomeKind.TIMEOUT, 408), (OutcomeKind.SUCCESS, 204)):
        submitted: Any = cli("task", "submit", "http://shop.test/", "--owner", "small-shop", "--json").json()
        made.append(submitted["id"])
        asyncio.run(_work(data_dir, Outcome(kind, status, None if kind is OutcomeKind.SUCCESS else "no answer")))
    return made


async def _work(folder: Path, outcome: Outcome) -> None:
    keys = parse_keys((folder / "cipher.key").read_text(), "the key file")
    clock = ManualClock(SystemClock().now() + 100)  # what was just submitted is due
    store = SqliteStore(folder / DATABASE_NAME, Sealer(*keys), clock)
    await store.open()
    assert await worked(store, clock, outcome, took_ms=3) == 1
    await store.close()


def found(cli: Cli, *options: str) -> list[dict[str, Any]]:
    answer: Any = cli("logs", "--json", *options).json()
    assert isinstance(answer, list)
    return answer


def test_the_newest_come_first_and_filters_filter(cli: Cli, tried: list[str]) -> None:
    assert [entry["taskId"] for entry in found(cli)] == tried[::-1]
    assert [entry["taskId"] for entry in found(cli, "-n", "1")] == tried[2:]
    assert [entry["taskId"] for entry in found(cli, "--state", "timeout", "--owner", "small-shop")] == [tried[1]]
    assert [entry["statusCode"] for entry in found(cli, "--status", "2xx")] == [204, 200]
    assert len(found(cli, "--status", "204", "--status", "4xx")) == 2
    assert found(cli, "--host", "shop.test", "--task", tried[0])[0]["attempt"] == 1
    assert len(found(cli, "--since", "1h")) == 3
    assert found(cli, "--until", "1h") == []


def test_the_table_shows_what_went_wrong(cli: Cli, tried: list[str]) -> None:
    shown = cli("logs")
    assert shown.code == 0
    assert all(task in shown.out for task in tried)
    assert "no answer" in shown.out
    assert "small-shop" in shown.out
    assert "There are no such attempts." in cli("logs", "--lane", "other").out


def test_what_an_answer_came_to_is_shown(cli: Cli, data_dir: Path) -> None:
    cli("owner", "create", "small-shop")
    task: Any = cli("task", "submit", "http://shop.test/", "--owner", "small-shop", "--json").json()
    led = Redirected(2, "GET", "http://b.test/", method_changed=True)
    outcome = Outcome(OutcomeKind.SUCCESS, 200, response=b"the beginning", response_truncated=True, redirected=led)
    asyncio.run(_work(data_dir, outcome))
    (entry,) = found(cli)
    assert (entry["responseTruncated"], entry["redirected"]["url"]) == (True, "http://b.test/")
    words = "redirected 2 times, to GET http://b.test/, without the data"
    assert words in cli("logs").out
    shown = cli("task", "show", task["id"])
    assert words in shown.out
    assert "the beginning… (the first 13 bytes)" in shown.out
    in_json: Any = cli("task", "show", task["id"], "--json").json()
    assert in_json["response_truncated"] is True


def test_attempts_without_an_answer_are_found(cli: Cli, tried: list[str], data_dir: Path) -> None:
    cli("task", "submit", "http://shop.test/", "--owner", "small-shop")
    asyncio.run(_work(data_dir, Outcome(OutcomeKind.CONNECTION, error="the connection was refused")))
    assert [entry["outcome"] for entry in found(cli, "--status", "0")] == ["connection"]
    assert len(found(cli, "--status", "0", "--status", "408")) == 2
    assert found(cli, "--status", "5xx") == []


def test_a_fault_names_its_option(cli: Cli, tried: list[str]) -> None:
    refused = cli("logs", "--status", "abc", "--since", "whenever")
    assert refused.code == 2
    assert "--status: must be" in refused.err
    assert "--since: is not a date" in refused.err
