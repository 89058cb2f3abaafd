"""The settings of the egress policy, from the environment to what tasks may call."""

import httpx
import pytest

from tasks_server import wiring
from tasks_server.domain.egress import Policy
from tasks_server.domain.errors import SettingsError
from tasks_server.settings import resolve
from tasks_server.settings.egress import egress_policy
from tests.cli.conftest import Cli, Serve, until
from tests.cli.test_serve import register, state, submit

Env = pytest.MonkeyPatch


@pytest.mark.parametrize(
    ("host", "policy"),
    [
        *(("127.0.0.1", "open"), ("127.0.0.5", "open"), ("::1", "open"), ("[::1]", "open"), ("localhost", "open")),
        *(("0.0.0.0", "public"), ("::", "public"), ("192.168.1.5", "public"), ("tasks.example", "public")),
    ],
)
def test_the_default_depends_on_who_can_reach_the_server(host: str, policy: str) -> None:
    assert egress_policy(resolve({"host": host}).settings) == policy


def test_the_settings_reach_every_process(monkeypatch: Env) -> None:
    monkeypatch.setenv("EGRESS_POLICY", "PRIVATE")
    monkeypatch.setenv("TASKS_SERVER_EGRESS_ALLOW", "127.0.0.1")
    monkeypatch.setenv("EGRESS_DENY", "10.0.0.0/8, denied.test")
    egress = wiring.egress_plan(resolve().settings).build()
    assert egress.policy is Policy.PRIVATE
    assert egress.refusal("127.0.0.1") is None
    assert egress.refusal("127.0.0.2") is not None
    assert egress.refusal("10.1.1.1") is not None
    assert egress.refusal_of_host("denied.test") is not None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("EGRESS_POLICY", "closed", ["'open', 'private' or 'public'"]),
        (
            "EGRESS_ALLOW",
            "10.0.0.0/8, 10.0.0.1/8, shop.test:80 b@d",
            ["'10.0.0.1/8' has bits set beyond its prefix", "'shop.test:80' is no", "'b@d' is no"],
        ),
        ("EGRESS_DENY", "shop.test, shop.test:80", ["'shop.test:80' is no address or network"]),
    ],
)
def test_bad_rules_are_named(monkeypatch: Env, name: str, value: str, words: list[str]) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        resolve()
    for word in (f"{name}: ", *words):
        assert word in caught.value.message


def test_settings_shows_the_policy_that_counts(cli: Cli, monkeypatch: Env) -> None:
    shown = cli("settings", "--json").json()
    assert isinstance(shown, dict)
    assert shown["egress_policy"] == {"value": "open", "from": "default"}
    monkeypatch.setenv("HOST", "0.0.0.0")
    shown = cli("settings", "--json").json()
    assert isinstance(shown, dict)
    assert shown["egress_policy"] == {"value": "public", "from": "default"}


def test_submit_obeys_the_policy(cli: Cli, monkeypatch: Env) -> None:
    assert cli("owner", "create", "small-shop").code == 0
    arguments = ("task", "submit", "http://127.1:9420/", "--owner", "small-shop")
    assert cli(*arguments).code == 0
    monkeypatch.setenv("EGRESS_POLICY", "public")
    refused = cli(*arguments)
    assert refused.code != 0
    assert "URL" in refused.err
    assert "a loopback address, which the egress policy (public) refuses" in " ".join(refused.err.split())


@pytest.mark.process
def test_a_task_taken_in_under_another_policy_is_not_called(serve: Serve, monkeypatch: Env) -> None:
    before = serve("--role", "api")
    headers = register(before)
    task_id = submit(before, headers, "http://0x7f.1:9/", retry=3)
    assert before.stop() == 0
    monkeypatch.setenv("EGRESS_POLICY", "public")
    after = serve()
    until(lambda: state(after, headers, task_id) == "ERROR", "the end of the task")
    (attempt,) = httpx.get(f"{after.url}/v1/queues/{task_id}/attempts", headers=headers).json()
    assert (attempt["outcome"], attempt["statusCode"]) == ("blocked", 403)
    assert attempt["error"] == "blocked: 0x7f.1 is a loopback address, which the egress policy (public) refuses"
    body = {"httpRequest": {"url": f"{after.url}/status", "method": "GET"}}
    assert httpx.post(f"{after.url}/v1/queues/register", json=body, headers=headers).status_code == 400
