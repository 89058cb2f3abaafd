"""`tasks-server schedule …`, on a database without a server."""

from typing import Any

import pytest

from tests.cli.conftest import Cli, Result

UNKNOWN = "0" * 24


@pytest.fixture
def shop(cli: Cli) -> dict[str, Any]:
    """An owner."""
    created = cli("owner", "create", "small-shop", "--json").json()
    assert isinstance(created, dict)
    return created


def create(cli: Cli, *options: str) -> Result:
    return cli("schedule", "create", "http://shop.test/hook?token=Hidden", "--owner", "small-shop", *options)


@pytest.fixture
def nightly(cli: Cli, shop: dict[str, Any]) -> Any:
    """A schedule for every night."""
    return create(cli, "--name", "nightly", "--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--json").json()


def test_create_says_when_it_runs_first_and_what_to_do_next(cli: Cli, shop: dict[str, Any]) -> None:
    result = create(cli, "--name", "nightly", "--every", "15m", "--start-at", "2040-01-01T00:00:00Z")
    assert result.code == 0
    assert "its first run 2040-01-01 00:00:00+00:00" in result.out
    assert "tasks-server schedule preview " in result.out


def test_all_options_reach_the_schedule(cli: Cli, shop: dict[str, Any]) -> None:
    made = create(
        cli, "--name", "full", "--every", "1h", "--start-at", "2040-01-01", "--end-at", "2041-01-01", "--max-runs", "9",
        "--jitter", "5s", "--missed", "all", "--missed-window", "2h", "--overlap", "buffer", "-H", "Accept: text/plain",
        "--query", "page=2", "--json-data", '{"a": 1}', "--retry", "3", "--retry-interval", "10s", "--retry-backoff",
        "fixed", "--timeout", "5s", "--priority", "7", "--lane", "slow", "--metadata", "of=cli", "--json",
    ).json()  # fmt: skip
    assert isinstance(made, dict)
    assert (made["every"], made["jitter"], made["missedWindow"], made["maxRuns"]) == (3_600_000, 5_000, 7_200_000, 9)
    assert (made["missed"], made["overlap"]) == ("all", "buffer")
    assert (made["endAt"] - made["startAt"]) == 366 * 86_400_000
    task = made["task"]
    assert (task["httpRequest"]["method"], task["httpRequest"]["data"]) == ("POST", {"a": 1})
    assert (task["httpRequest"]["headers"], task["httpRequest"]["query"]) == ({"Accept": "text/plain"}, {"page": "2"})
    config = {"retry": 3, "retryInterval": 10_000, "retryBackoff": "fixed", "timeout": 5_000, "priority": 7}
    assert config.items() <= task["config"].items()
    assert (task["config"]["lane"], task["metadata"]) == ("slow", {"of": "cli"})


def test_faults_are_named_by_their_options(cli: Cli, shop: dict[str, Any]) -> None:
    result = create(cli, "--name", "bad", "--cron", "61 * * * *", "--missed-window", "x", "--retry-interval", "y")
    assert result.code == 2
    for option in ("--cron", "--missed-window", "--retry-interval"):
        assert f"tasks-server: {option}: " in result.err
    twice = create(cli, "--name", "bad", "--every", "5s", "--query", "a=1", "--query", "a=2")
    assert (twice.code, "--query: names this twice" in twice.err) == (2, True)


def test_a_schedule_is_found_by_id_and_by_name(cli: Cli, nightly: Any) -> None:
    by_name = cli("schedule", "show", "nightly", "--owner", "small-shop", "--json").json()
    assert by_name == cli("schedule", "show", nightly["id"], "--json").json() == nightly
    unnamed = cli("schedule", "show", "nightly")
    assert (unnamed.code, "--owner" in unnamed.err) == (2, True)
    unknown = cli("schedule", "show", UNKNOWN)
    assert (unknown.code, "there is no schedule" in unknown.err) == (1, True)


def test_show_and_list_are_for_people(cli: Cli, nightly: Any) -> None:
    for words in (["list"], ["show", nightly["id"]]):
        result = cli("schedule", *words)
        assert result.code == 0
        assert "30 2 * * * (Europe/Berlin)" in result.out
        assert "Hidden" not in result.out
    assert "token=***" in cli("schedule", "show", nightly["id"]).out
    (listed,) = cli("schedule", "list", "--owner", "small-shop", "--json").json()
    assert (listed["owner_name"], listed["name"]) == ("small-shop", "nightly")


def test_no_schedules_are_told_as_such(cli: Cli, shop: dict[str, Any]) -> None:
    assert cli("schedule", "list").out == "There are no schedules.\n"


def test_a_rule_is_previewed_without_storing_it(cli: Cli, shop: dict[str, Any]) -> None:
    told = cli("schedule", "preview", "--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "-n", "2")
    lines = told.out.splitlines()
    assert [line[11:19] for line in lines] == ["02:30:00", "02:30:00"]
    assert cli("schedule", "list", "--json").json() == []
    refused = cli("schedule", "preview", "--cron", "61 * * * *", "--timezone", "Mars")
    assert refused.code == 2
    assert "--cron" in refused.err
    assert "--timezone" in refused.err
    assert "one of them" in cli("schedule", "preview").err or "--cron" in cli("schedule", "preview").err


def test_preview_shows_the_clock_there(cli: Cli, nightly: Any) -> None:
    lines = cli("schedule", "preview", nightly["id"], "-n", "3").out.splitlines()
    assert len(lines) == 3
    assert all(line.endswith(("T02:30:00+01:00", "T02:30:00+02:00", "T03:00:00+02:00")) for line in lines)
    told = cli("schedule", "preview", nightly["id"], "--json").json()
    assert isinstance(told, dict)
    assert len(told["times"]) == 10


def test_pause_resume_run_and_delete(cli: Cli, nightly: Any) -> None:
    key = nightly["id"]
    assert cli("schedule", "pause", key).out == "Schedule nightly is paused.\n"
    assert "paused" in cli("schedule", "list").out
    assert cli("schedule", "resume", key).out.startswith("Schedule nightly goes on, its next run 2")
    run = cli("schedule", "run", key, "--json").json()
    assert isinstance(run, dict)
    assert cli("task", "show", run["id"], "--json").json()["phase"] == "available"
    assert cli("schedule", "delete", "nightly", "--owner", "small-shop").out == "Schedule nightly is deleted.\n"
    assert cli("schedule", "pause", key).code == 1
    assert cli("task", "show", run["id"]).code == 0


def test_the_tasks_of_a_schedule_are_listed(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    made = cli(
        "schedule", "create", "--handler", "a", "-o", "small-shop", "--name", "n", "--every", "1h", "--json"
    ).json()
    ran = cli("schedule", "run", made["id"], "--json").json()
    other = cli("task", "submit", "http://a.test", "-o", "small-shop", "--json").json()
    assert [task["id"] for task in cli("task", "list", "--schedule", made["id"], "--json").json()] == [ran["id"]]
    assert [task["id"] for task in cli("task", "list", "--handlers", "--json").json()] == [ran["id"]]
    assert [task["id"] for task in cli("task", "list", "--json").json()] == [other["id"], ran["id"]]
