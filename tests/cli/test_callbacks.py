"""Callbacks on the command line: of tasks, lanes and owners."""

from .conftest import Cli

URL = "https://ops.example/told?token=Zx81"
MASKED = "https://ops.example/told?token=***"


def test_those_of_an_owner_are_set_shown_and_taken_away(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    assert "failure: -, success: -" in cli("owner", "callback", "show", "small-shop").out
    answer = cli("owner", "callback", "set", "small-shop", "--failure", URL)
    assert (answer.code, answer.out) == (0, f"Called when a task has ended: failure: POST {MASKED}, success: -.\n")
    shown = cli("owner", "callback", "show", "small-shop", "--json").json()
    assert (shown["failureCallback"]["url"], shown["successCallback"]) == (MASKED, None)
    assert "failure: -" in cli("owner", "callback", "set", "small-shop", "--failure", "none").out
    refused = cli("owner", "callback", "set", "small-shop", "--success", "ftp://a.example/")
    assert refused.code != 0
    assert "--success" in refused.err


def test_those_of_a_lane_are_set_with_it(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    lane = ("lane", "set", "mail", "--owner", "small-shop")
    assert cli(*lane, "--failure-callback", URL, "--success-callback", "false").code == 0
    shown = cli("lane", "show", "mail", "--owner", "small-shop", "--json").json()
    assert (shown["failureCallback"]["url"], shown["successCallback"]) == (MASKED, False)
    told = " ".join(cli("lane", "show", "mail", "--owner", "small-shop").out.split())
    assert f"failure: POST {MASKED}, success: false" in told
    cli(*lane, "--rate", "5", "--failure-callback", "none")
    shown = cli("lane", "show", "mail", "--owner", "small-shop", "--json").json()
    assert (shown["failureCallback"], shown["successCallback"], shown["ratePerSecond"]) == (None, False, 5)
    refused = cli(*lane, "--failure-callback", "ops")
    assert refused.code != 0
    assert "--failure-callback" in refused.err


def test_those_of_a_task_are_given_with_it(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    task = ("task", "submit", "https://a.example/", "--owner", "small-shop", "--delay", "1h")
    assert cli(*task, "--failure-callback", URL, "--success-callback", "false").code == 0
    refused = cli(*task, "--success-callback", "true")
    assert refused.code != 0
    assert "--success-callback" in refused.err
    schedule = (
        "schedule",
        "create",
        "https://a.example/",
        "--name",
        "nightly",
        "--owner",
        "small-shop",
        "--cron",
        "0 3 * * *",
    )
    answer = cli(*schedule, "--owner", "small-shop", "--failure-callback", URL, "--json")
    assert answer.code == 0, answer.err
