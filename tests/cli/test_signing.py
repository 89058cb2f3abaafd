"""`owner signing`: shown, rotated, switched by the operator."""

from standardwebhooks.webhooks import Webhook

from .conftest import Cli


def test_secrets_are_shown_and_rotated(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    before = cli("owner", "signing", "show", "small-shop", "--json").json()
    Webhook(before["secrets"][0]["secret"])
    rotated = cli("owner", "signing", "rotate", "small-shop", "--overlap", "60", "--json").json()
    new, old = rotated["secrets"]
    assert old["secret"] == before["secrets"][0]["secret"]
    assert old["expiresAt"] - new["createdAt"] == 60_000
    shown = cli("owner", "signing", "show", "small-shop")
    assert "Calls are signed" in shown.out
    assert new["secret"] in shown.out
    assert old["secret"] in shown.out


def test_signing_is_switched(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    assert "Calls are not signed" in cli("owner", "signing", "off", "small-shop").out
    assert cli("owner", "signing", "show", "small-shop", "--json").json()["enabled"] is False
    assert "Calls are signed" in cli("owner", "signing", "on", "small-shop").out


def test_an_owner_that_is_not_there(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    answer = cli("owner", "signing", "rotate", "other-shop")
    assert answer.code != 0
    assert "no owner of this name" in answer.err
    assert cli("owner", "signing", "rotate", "small-shop", "--overlap", "604801").code != 0
