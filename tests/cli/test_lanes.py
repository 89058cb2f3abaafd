"""`tasks-server lane …`, on a database without a server."""

import io
import sys
from typing import Any

import pytest

from tasks_server.cli import output
from tasks_server.domain.errors import Refused
from tests.cli.conftest import Cli, Result, Serve


@pytest.fixture
def shop(cli: Cli) -> dict[str, Any]:
    """An owner."""
    created = cli("owner", "create", "small-shop", "--json").json()
    assert isinstance(created, dict)
    return created


def lane(cli: Cli, *words: str) -> Result:
    return cli("lane", *words, "--owner", "small-shop")


def shown(cli: Cli) -> Any:
    return lane(cli, "show", "mail", "--json").json()


def test_set_makes_it_and_changes_what_is_named(cli: Cli, shop: dict[str, Any]) -> None:
    result = lane(cli, "set", "mail", "--max-concurrent", "5", "--rate", "50")
    assert (result.code, result.out) == (0, "Lane mail: at once 5, per second 50, burst 5.\n")
    assert lane(cli, "set", "mail", "--burst", "10", "--json").json() == shown(cli)
    assert (shown(cli)["maxConcurrent"], shown(cli)["ratePerSecond"], shown(cli)["burst"]) == (5, 50, 10)
    lane(cli, "set", "mail", "--rate", "none")
    assert (shown(cli)["maxConcurrent"], shown(cli)["ratePerSecond"], shown(cli)["burst"]) == (5, None, None)


def test_faults_are_named_by_their_options(cli: Cli, shop: dict[str, Any]) -> None:
    result = lane(cli, "set", "no good", "--max-concurrent", "0", "--rate", "many", "--burst", "1.5")
    assert result.code == 2
    for option in ("NAME", "--max-concurrent", "--rate", "--burst"):
        assert f"tasks-server: {option}: " in result.err
    alone = lane(cli, "set", "mail", "--burst", "3")
    assert (alone.code, "--burst: needs a --rate" in alone.err) == (2, True)


def test_a_task_makes_it(cli: Cli, shop: dict[str, Any]) -> None:
    words = ("submit", "http://shop.test/", "--owner", "small-shop", "--lane", "mail", "--delay", "1h")
    assert cli("task", *words).code == 0
    assert shown(cli)["tasks"] == {"scheduled": 1, "available": 0, "running": 0, "retryable": 0, "paused": 0}
    assert lane(cli, "list", "--json").json() == [{"owner": "small-shop", **shown(cli)}]


def test_those_of_all_owners_are_listed(cli: Cli, shop: dict[str, Any]) -> None:
    assert cli("lane", "list").out == "No task has used a lane yet.\n"
    cli("owner", "create", "big-shop")
    for owner, name in (("small-shop", "mail"), ("big-shop", "sms"), ("big-shop", "mail")):
        cli("lane", "set", name, "--owner", owner, "--rate", "1")
    listed = cli("lane", "list", "--json").json()
    assert [(one["owner"], one["name"]) for one in listed] == [
        ("big-shop", "mail"), ("big-shop", "sms"), ("small-shop", "mail"),
    ]  # fmt: skip
    assert cli("lane", "list").out.count("big-shop") == 2
    assert "big-shop" not in lane(cli, "list").out


def test_purge_deletes_what_is_in_queue(cli: Cli, shop: dict[str, Any], serve: Serve) -> None:
    words = ("submit", "http://shop.test/", "--owner", "small-shop", "--delay", "1h")
    for name in ("mail", "mail", "other"):
        assert cli("task", *words, "--lane", name).code == 0
    unasked = lane(cli, "purge", "mail")
    assert unasked.code == 1
    assert (
        "Delete the 2 tasks of small-shop that are in queue in the lane mail, for good? Say so by --yes" in unasked.err
    )
    assert len(cli("task", "list", "--json").json()) == 3
    stored = lane(cli, "purge", "mail", "--yes")
    assert "is stored; it will look at about " in stored.out
    assert "tasks-server bulk show " in stored.out
    serve()
    result = lane(cli, "purge", "mail", "--wait", "--yes")
    assert (result.code, " done: " in result.out) == (0, True)
    assert [task["lane"] for task in cli("task", "list", "--json").json()] == ["other"]
    assert lane(cli, "purge", "nowhere").code == 1


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("YES\n", 0), ("\n", 1), ("no\n", 1), ("", 1)])
def test_purge_asks_at_a_terminal(answer: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    said = Terminal()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdin", Terminal(answer))
        patched.setattr(sys, "stderr", said)
        if code:
            with pytest.raises(Refused, match="nothing was done"):
                output.confirm("Delete it?")
        else:
            output.confirm("Delete it?")
    assert said.getvalue() == "Delete it? [y/N] "


def test_pause_and_resume(cli: Cli, shop: dict[str, Any]) -> None:
    lane(cli, "set", "mail", "--max-concurrent", "5")
    assert lane(cli, "pause", "mail").out == "Lane mail: is paused.\n"
    assert (shown(cli)["paused"], shown(cli)["pausedBy"]) == (True, "operator")
    for words in (["show", "mail"], ["list"]):
        assert "paused" in lane(cli, *words).out
    assert "by the operator, 20" in lane(cli, "show", "mail").out
    assert lane(cli, "resume", "mail").out == "Lane mail: goes on.\n"
    assert lane(cli, "pause", "mail", "--json").json()["maxConcurrent"] == 5


def test_what_is_not_there_is_told_as_such(cli: Cli, shop: dict[str, Any]) -> None:
    assert lane(cli, "list").out == "No task of this owner has used a lane yet.\n"
    for words in (["show"], ["pause"], ["resume"]):
        result = lane(cli, *words, "mail")
        assert (result.code, "no lane of this name" in result.err) == (1, True)
    assert cli("lane", "list", "--owner", "nobody").code == 1
