"""`tasks-server task move`: another time for what waits."""

from typing import Any

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def task(cli: Cli) -> Any:
    """One that waits for an hour."""
    cli("owner", "create", "small-shop", "--json")
    return cli("task", "submit", "http://shop.test/", "--owner", "small-shop", "--delay", "1h", "--json").json()


def test_a_task_gets_another_delay_or_date(cli: Cli, task: Any) -> None:
    assert cli("task", "move", task["id"], "--at", "2040-01-31T09:00[Europe/Berlin]").code == 0
    shown = cli("task", "show", task["id"], "--json").json()
    assert shown["due_at"] == 2_211_609_600_000
    told = cli("task", "move", task["id"], "--delay", "2h")
    assert told.code == 0, told.err
    assert "is due " in told.out
    assert cli("task", "show", task["id"], "--json").json()["due_at"] < shown["due_at"]


def test_what_cannot_be_is_told_by_its_option(cli: Cli, task: Any) -> None:
    for options in ((), ("--delay", "1h", "--at", "2040-01-01")):
        refused = cli("task", "move", task["id"], *options)
        assert (refused.code, "one of them" in refused.err) == (2, True)
    assert "--at" in cli("task", "move", task["id"], "--at", "1999-01-01").err
    assert "needs a unit, such as 5s" in cli("task", "move", task["id"], "--delay", "5").err
    cli("task", "revoke", task["id"])
    assert cli("task", "move", task["id"], "--delay", "1h").code != 0


def test_a_paused_task_is_moved_and_stays_paused(cli: Cli, task: Any) -> None:
    cli("task", "pause", task["id"])
    told = cli("task", "move", task["id"], "--delay", "3h")
    assert "is paused" in told.out
    assert cli("task", "show", task["id"], "--json").json()["state"] == "PAUSED"
