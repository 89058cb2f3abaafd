"""`tasks-server bulk …`: on a database without a server, and with one that does the work."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Serve

UNKNOWN = "0" * 24


@pytest.fixture
def shop(cli: Cli) -> list[str]:
    """An owner with three tasks that are revoked and one that waits."""
    cli("owner", "create", "small-shop", "--json")
    submit = ("task", "submit", "http://shop.test/hook", "--owner", "small-shop", "--delay", "1h", "--json")
    made = [cli(*submit, "--metadata", f"number={number}").json()["id"] for number in range(4)]
    cli("task", "revoke", *made[:3])
    return made


def create(cli: Cli, *options: str) -> Any:
    return cli("bulk", "create", *options, "--owner", "small-shop")


def test_create_says_what_to_do_next(cli: Cli, shop: list[str]) -> None:
    result = create(cli, "retry", "--state", "revoked")
    assert result.code == 0
    assert "it will look at about 3 tasks" in result.out
    assert "tasks-server bulk show " in result.out


def test_all_options_reach_the_work(cli: Cli, shop: list[str]) -> None:
    made = create(
        cli, "delete", "-s", "ERROR", "-s", "success", "--lane", "slow", "--host", "shop.test", "--schedule", "A" * 24,
        "--status-code", "5xx", "--error", "refused", "--metadata", "number=1", "--created-since", "2020-01-01",
        "--created-until", "2040-01-01", "--ended-since", "2020-01-01", "--ended-until", "2040-01-01", "--id", shop[0],
        "--json",
    ).json()  # fmt: skip
    assert made["filter"] == {
        "states": ["SUCCESS", "ERROR"],
        "lane": "slow",
        "host": "shop.test",
        "schedule": "A" * 24,
        "statusCode": "5xx",
        "errorContains": "refused",
        "metadata": {"number": "1"},
        "createdSince": 1_577_836_800_000,
        "createdUntil": 2_208_988_800_000,
        "endedSince": 1_577_836_800_000,
        "endedUntil": 2_208_988_800_000,
        "ids": [shop[0]],
    }
    assert (made["askedBy"], made["state"]) == ("operator", "pending")
    handled = create(cli, "retry", "--handler", "send", "--status-code", "503", "--json").json()
    assert handled["filter"] == {"states": ["ERROR"], "handler": "send", "statusCode": 503}
    unanswered = create(cli, "retry", "--status-code", "0", "--json").json()
    assert unanswered["filter"] == {"states": ["ERROR"], "statusCode": 0}
    assert create(cli, "delete", "--all", "--json").json()["filter"] == {"all": True}


def test_faults_are_named_by_their_options(cli: Cli, shop: list[str]) -> None:
    result = create(cli, "drop", "--state", "FAILED", "--status-code", "9xx", "--id", "x", "--ended-since", "soon")
    assert result.code == 2
    for option in ("ACTION", "--state", "--status-code", "--id", "--ended-since"):
        assert f"tasks-server: {option}: " in result.err
    nothing = create(cli, "delete").err
    assert nothing.startswith("tasks-server: filter: no condition is given; give any of --state, --lane, --host, ")
    assert "--error, " in nothing
    assert "--id; or --all for every task of the owner" in nothing
    assert "--metadata" in create(cli, "delete", "--metadata", "x").err


def test_a_dry_run_says_what_would_change(cli: Cli, shop: list[str]) -> None:
    result = create(cli, "retry", "--id", shop[0], "--id", shop[3], "--dry-run")
    assert "retry would change 1 tasks and skip 1." in result.out
    assert shop[0] in result.out
    assert create(cli, "delete", "--all", "--dry-run", "--json").json()["changed"] == 4
    assert cli("bulk", "list").out == "There is no bulk work.\n"


def test_it_is_listed_shown_and_cancelled(cli: Cli, shop: list[str]) -> None:
    made = create(cli, "retry", "--all", "--json").json()
    listed = cli("bulk", "list", "--owner", "small-shop")
    assert made["id"] in listed.out
    assert cli("bulk", "list", "--json").json() == [made] == [cli("bulk", "show", made["id"], "--json").json()]
    assert "by operator" in cli("bulk", "show", made["id"]).out
    assert f"Bulk work {made['id']} is cancelled; it has changed 0 tasks." in cli("bulk", "cancel", made["id"]).out
    assert "cancelled" in cli("bulk", "show", made["id"]).out
    assert cli("bulk", "cancel", made["id"], "--json").json()["state"] == "cancelled"
    for command in ("show", "cancel"):
        assert cli("bulk", command, UNKNOWN).code == 1


def test_why_it_does_not_go_on_is_shown(cli: Cli, shop: list[str], data_dir: Path) -> None:
    made = create(cli, "retry", "--all", "--json").json()
    with closing(sqlite3.connect(data_dir / "tasks.sqlite")) as database:
        database.execute("UPDATE bulk SET waits = 'step_failed', error = 'of its own', failures = 3")
        database.commit()
    shown = cli("bulk", "show", made["id"]).out
    assert "waiting for step_failed" in shown
    assert "of its own" in shown


def test_a_running_server_does_it_while_one_waits(cli: Cli, shop: list[str], serve: Serve) -> None:
    serve()
    result = create(cli, "delete", "--state", "REVOKED", "--wait")
    assert result.code == 0
    assert "done: 3 of 3 seen, 3 changed, 0 skipped" in result.out
    assert [task["id"] for task in cli("task", "list", "--json").json()] == [shop[3]]
    (done,) = cli("bulk", "list", "--json").json()
    assert "done: 3 of 3 seen" in cli("bulk", "show", done["id"], "--wait").out
