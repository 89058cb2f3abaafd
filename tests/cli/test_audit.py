"""`tasks-server audit`: what was done on the command line, and how it is found again."""

import os
import pwd

from tests.cli.conftest import Cli


def test_what_is_done_on_the_command_line_is_recorded_with_its_user(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    submitted = cli("task", "submit", "http://shop.test/", "--owner", "small-shop", "--delay", "1h", "--json").json()
    cli("task", "pause", submitted["id"])
    cli("lane", "set", "mail", "--owner", "small-shop", "--rate", "5")
    cli("owner", "suspend", "small-shop")
    found = cli("audit", "--json").json()
    told = [(entry["kind"], entry["action"], entry["subject"]) for entry in found]
    assert told == [
        ("owner", "edit", "small-shop"),
        ("lane", "put", "mail"),
        ("task", "pause", submitted["id"]),
        ("owner", "register", "small-shop"),
    ]
    user = pwd.getpwuid(os.getuid()).pw_name
    assert {(entry["by"], entry["via"], entry["user"], entry["owner"]) for entry in found} == {
        ("operator", "cli", user, "small-shop")
    }
    assert "suspended: True" in cli("audit").out
    assert cli("audit", "--kind", "task", "--action", "pause", "--json").json() == [found[2]]
    assert cli("audit", "--subject", "mail", "--key", user, "--limit", "1", "--json").json() == [found[1]]
    assert cli("audit", "--owner", "small-shop", "--since", "1h", "--json").json() == found
    assert "nothing of this" in cli("audit", "--until", "1h").out


def test_faults_are_told_by_the_options(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    for option, value in (("--by", "nobody"), ("--kind", "house"), ("--since", "never")):
        result = cli("audit", option, value)
        assert (result.code, option in result.err) == (2, True)
