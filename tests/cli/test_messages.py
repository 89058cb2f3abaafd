"""What commands say where something is wrong, in the words of the command line; and which zone a date has."""

from typing import Any

import pytest

from .conftest import Cli
from .test_commands import UNKNOWN, shop, shown, submit

__all__ = ["shop"]


@pytest.mark.parametrize(
    "options",
    [
        ["--at", "2030-01-31T12:00", "--timezone", "Europe/Berlin"],
        ["--at", "2030-01-31T12:00[Europe/Berlin]"],
        ["--at", "2030-01-31T12:00[Europe/Berlin]", "--timezone", "Asia/Tokyo"],
    ],
)
def test_a_date_may_have_a_zone(cli: Cli, shop: dict[str, Any], options: list[str]) -> None:
    made: Any = submit(cli, *options, "--json").json()
    assert shown(cli, made["id"])["due_at"] == 1_896_087_600_000


def test_what_says_one_thing_twice_is_refused(cli: Cli, shop: dict[str, Any]) -> None:
    result = submit(cli, "--delay", "1h", "--at", "2030-01-31T12:00Z")
    assert result.code == 2
    assert "--delay: cannot be given together with --at" in result.err


def test_a_name_that_is_nobodys_leads_to_the_one_that_was_meant(cli: Cli, shop: dict[str, Any]) -> None:
    for command in (
        ["task", "submit", "http://a.test/", "--owner", "smal-shop"],
        ["task", "list", "--owner", "Small_Shop"],
        ["owner", "set-limit", "smallshop", "5"],
        ["owner", "delete", "small-shops"],
        ["lane", "list", "--owner", "small-shp"],
    ):
        result = cli(*command)
        assert (result.code, result.out) == (1, "")
        assert "there is no owner of this name; did you mean small-shop?" in result.err
    assert "owner list shows those that there are" in cli("owner", "set-limit", "market", "5").err


def test_nobody_speaks_of_keys_to_the_operator(cli: Cli, shop: dict[str, Any]) -> None:
    for command in (["task", "show", UNKNOWN], ["schedule", "show", UNKNOWN], ["bulk", "show", UNKNOWN]):
        assert "that this key may see" not in cli(*command).err


def test_how_many_tasks_a_new_owner_may_have_is_a_setting(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_LIMIT", "5000")
    assert cli("owner", "create", "large-shop", "--json").json()["tasksInQueueLimit"] == 5_000
    assert cli("owner", "create", "small-shop", "--limit", "7", "--json").json()["tasksInQueueLimit"] == 7
    monkeypatch.delenv("QUEUE_LIMIT")
    assert cli("owner", "create", "usual-shop", "--json").json()["tasksInQueueLimit"] == 1_000


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--delay", "5"], "--delay: needs a unit, such as 5s; given: '5'; allowed: a number with a unit: 500ms, 90s"),
        (["--retry-interval", "5"], "--retry-interval: needs a unit, such as 5s"),
        (["--timeout", "soon"], "--timeout: is not a duration; given: 'soon'; allowed: a number with a unit"),
        (["--timeout", "1ms"], "--timeout: must be 100 ms to 1 d, with its unit"),
        (["--at", "1700000000000"], "--at: is a number, and no date; given: '1700000000000'; allowed: a date: 2030-"),
        (["--at", "2001-01-01"], "--at: lies in the past; leave the option out to run the task at once"),
        (["--at", "2030-01-01", "--timezone", "CEST"], "--timezone: is not a time zone of the IANA database; did you"),
    ],
)
def test_faults_speak_of_options_and_of_what_they_take(
    cli: Cli, shop: dict[str, Any], options: list[str], told: str
) -> None:
    result = submit(cli, *options)
    assert (result.code, told in result.err) == (2, True), result.err
    assert "executeAt" not in result.err
    assert "without quotes" not in result.err
