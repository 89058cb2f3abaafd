"""`tasks-server task explain`."""

from .conftest import Cli


def test_a_task_is_explained(cli: Cli) -> None:
    assert cli("owner", "create", "first-shop").code == 0
    made = cli("task", "submit", "http://127.0.0.1:1/", "--owner", "first-shop", "--delay", "1h", "--json").json()
    shown = cli("task", "explain", made["id"])
    assert shown.out.startswith("It is due in 59 min")
    assert "held by engine, too." in shown.out
    assert "no engine has ever run on this database" in shown.out
    assert "Earliest start" not in shown.out
    explained = cli("task", "explain", made["id"], "--json").json()
    assert (explained["phase"], explained["runnable"], explained["estimateAt"]) == ("scheduled", False, None)
    assert [gate["gate"] for gate in explained["gates"] if gate["closed"]] == ["due", "engine"]
    assert cli("task", "pause", made["id"]).code == 0
    assert "(by the operator)" in cli("task", "explain", made["id"]).out
    assert cli("task", "explain", "0" * 24).code != 0
