"""`tasks-server owner …`: shown, suspended, rated, and their keys, on a database without a server."""

import httpx
import pytest

from tests.cli.conftest import Cli, Serve, until


def test_an_owner_is_shown_suspended_and_goes_on(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    assert "active" in cli("owner", "show", "small-shop").out
    assert "Owner small-shop is suspended: its tasks wait" in cli("owner", "suspend", "small-shop").out
    assert "suspended since" in cli("owner", "show", "small-shop").out
    assert cli("owner", "show", "small-shop", "--json").json()["suspended"] is True
    assert "suspended" in cli("owner", "list").out
    submitted = cli("task", "submit", "http://shop.test/", "--owner", "small-shop", "--json").json()
    explained = cli("task", "explain", submitted["id"]).out
    assert "only the operator can resume it" in explained
    assert cli("owner", "resume", "small-shop", "--json").json()["suspendedAt"] is None


def test_an_owner_gets_a_rate(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    assert "50 requests a minute" in cli("owner", "set-rate", "small-shop", "50").out
    assert cli("owner", "show", "small-shop", "--json").json()["requestsPerMinute"] == 50
    assert "as all others" in cli("owner", "set-rate", "small-shop", "default").out
    for wrong in ("0", "many", "1000001"):
        result = cli("owner", "set-rate", "small-shop", wrong)
        assert (result.code, "REQUESTS: must be a number from 1 to 1000000, or default" in result.err) == (2, True)


def test_owners_are_listed_by_the_beginning_of_their_names(cli: Cli) -> None:
    for name in ("shop-a", "shop-b", "depot"):
        cli("owner", "create", name)
    assert [owner["name"] for owner in cli("owner", "list", "--prefix", "shop", "--json").json()] == [
        "shop-a",
        "shop-b",
    ]
    assert "There are no owners whose name begins with x" in cli("owner", "list", "--prefix", "x").out


def test_keys_are_changed_without_a_pause(cli: Cli) -> None:
    first = cli("owner", "create", "small-shop", "--json").json()
    (old,) = cli("owner", "key", "list", "small-shop", "--json").json()
    assert (set(old), old["lastUsedAt"]) == ({"keyId", "createdAt", "lastUsedAt"}, None)
    added = cli("owner", "key", "add", "small-shop")
    assert "owner key remove small-shop KEY_ID" in added.out
    listed = cli("owner", "key", "list", "small-shop")
    assert old["keyId"] in listed.out
    assert first["key"] not in listed.out
    assert "at most 2 live keys" in cli("owner", "key", "add", "small-shop").err
    assert "is removed" in cli("owner", "key", "remove", "small-shop", old["keyId"]).out
    (left,) = cli("owner", "key", "list", "small-shop", "--json").json()
    assert left["keyId"] != old["keyId"]
    assert "last key" in cli("owner", "key", "remove", "small-shop", left["keyId"]).err
    assert cli("owner", "key", "list", "other-shop").code == 1


def test_the_name_that_is_taken_is_named(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    assert "the name small-shop is taken" in cli("owner", "create", "small-shop").err


@pytest.mark.process
def test_a_running_server_keeps_to_what_the_operator_does_with_an_owner(serve: Serve, cli: Cli) -> None:
    server = serve()
    key = cli("owner", "create", "small-shop", "--json").json()["key"]
    assert "suspended" in cli("owner", "suspend", "small-shop").out

    def asked(path: str) -> httpx.Response:
        return httpx.get(f"{server.url}{path}", headers={"Authorization": f"Bearer {key}"})

    assert (asked("/v1/queues").status_code, asked("/v1/queues").json()["code"]) == (403, "owner_suspended")
    held = cli("task", "submit", f"{server.url}/status", "--owner", "small-shop", "--json").json()["id"]
    cli("owner", "create", "other-shop")
    free = cli("task", "submit", f"{server.url}/status", "--owner", "other-shop", "--json").json()["id"]

    def phase(task: str) -> object:
        return cli("task", "show", task, "--json").json()["phase"]

    until(lambda: phase(free) == "completed", "the task of an owner that is not suspended")
    assert phase(held) == "available"
    assert "its owner was suspended by the operator" in cli("task", "explain", held).out.lower()
    cli("owner", "resume", "small-shop")
    until(lambda: phase(held) == "completed", "the task of the owner that goes on")
    assert asked(f"/v1/queues/{held}").json()["state"] == "SUCCESS"
