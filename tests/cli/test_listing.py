"""`tasks-server task list` with the filters of bulk work."""

from typing import Any

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def tasks(cli: Cli) -> dict[str, str]:
    """Ids by what they are."""
    cli("owner", "create", "small-shop", "--json")

    def made(*options: str) -> str:
        told: Any = cli("task", "submit", *options, "--owner", "small-shop", "--delay", "1h", "--json").json()
        return str(told["id"])

    return {
        "call": made("http://shop.test:8080/hook", "--metadata", "order=42"),
        "mail": made("--handler", "default", "--lane", "mail"),
    }


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("--host shop.test", "call"),
        ("--host shop.test:8080", "call"),
        ("--host shop", ""),
        ("--handler default", "mail"),
        ("--lane mail", "mail"),
        ("--metadata order=42", "call"),
        ("--created-since 1h", "mail call"),
        ("--created-until 1h", ""),
        ("--status-code 0", "mail call"),
        ("--status-code 5xx", ""),
        ("--ended-since 2h", ""),
    ],
)
def test_each_filter_narrows_the_list(cli: Cli, tasks: dict[str, str], options: str, found: str) -> None:
    listed: Any = cli("task", "list", *options.split(), "--json").json()
    assert [one["id"] for one in listed] == [tasks[name] for name in found.split()]


def test_the_list_says_what_a_task_is(cli: Cli, tasks: dict[str, str]) -> None:
    told = cli("task", "list").out
    assert "shop.test:8080" in told
    assert "handler default" in told
    assert "mail" in told


def test_faults_are_told_by_their_options(cli: Cli) -> None:
    cli("owner", "create", "small-shop", "--json")
    refused = cli("task", "list", "--status-code", "many", "--ended-since", "soon", "--host", "a/b", "--lane", "a b")
    assert refused.code == 2
    for option in ("--status-code", "--ended-since", "--host", "--lane"):
        assert option in refused.err
