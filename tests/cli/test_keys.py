"""`keys`: the cipher key is changed while a server runs and works, and nothing is lost."""

import os
import threading
from pathlib import Path

import httpx
import pytest

from tests.engine.http.target import Target
from tests.postgres.databases import Databases

from .conftest import Cli, Serve, until


def age(data_dir: Path) -> None:
    """As if the keys had been changed long ago."""
    os.utime(data_dir / "cipher.key", (0, 0))


@pytest.mark.usefixtures("no_server")
def test_keys_are_rotated_listed_and_dropped(cli: Cli, data_dir: Path) -> None:
    cli("owner", "create", "small-shop")
    made = cli("task", "submit", "http://shop.test/", "-o", "small-shop", "--delay", "1h", "--json").json()
    (old,) = cli("keys", "list", "--json").json()
    assert (old["newest"], old["values"]) == (True, 3)
    new, kept = cli("keys", "rotate", "--json").json()
    assert new == {"id": new["id"], "newest": True, "use": "seals", "values": 3}
    assert kept == {"id": old["id"], "newest": False, "use": "replaced", "values": 0}
    early = cli("keys", "drop-old")
    assert (early.code != 0, "changed a moment ago" in early.err) == (True, True)
    age(data_dir)
    assert cli("keys", "drop-old", "--json").json() == [new]
    assert cli("keys", "list", "--json").json() == [new]
    assert cli("task", "show", made["id"], "--json").json()["request"]["url"] == "http://shop.test/"
    assert (data_dir / "cipher.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("no_server")
def test_what_is_needed_is_not_dropped(cli: Cli, data_dir: Path) -> None:
    cli("owner", "create", "small-shop")
    path = data_dir / "cipher.key"
    path.write_text("ab" * 32 + "\n" + path.read_text())
    age(data_dir)
    refused = cli("keys", "drop-old")
    assert refused.code != 0
    assert "2 values are still sealed with old keys" in refused.err
    assert "opens" in cli("keys", "list").out
    assert "this removes them: tasks-server keys drop-old" in cli("keys", "reseal").out
    age(data_dir)
    assert cli("keys", "drop-old").code == 0
    assert path.read_text() == "ab" * 32 + "\n"


@pytest.mark.usefixtures("no_server")
def test_a_key_behind_that_has_sealed_nothing_is_to_come(cli: Cli, data_dir: Path) -> None:
    cli("owner", "create", "small-shop")
    path = data_dir / "cipher.key"
    old = path.read_text()
    path.write_text(old + "ab" * 32 + "\n")
    assert [row["use"] for row in cli("keys", "list", "--json").json()] == ["seals", "to come"]
    listed = cli("keys", "list").out
    assert "has sealed nothing yet" in listed
    assert "drop-old" not in listed
    age(data_dir)
    assert cli("keys", "drop-old").code == 0, "nobody works that might seal with it"
    assert path.read_text() == old


@pytest.mark.usefixtures("no_server")
def test_a_key_that_comes_back_is_no_replaced_one(cli: Cli, data_dir: Path) -> None:
    cli("owner", "create", "small-shop")
    path = data_dir / "cipher.key"
    assert cli("keys", "rotate").code == 0
    new, old = path.read_text().split()
    path.write_text(f"{old}\n{new}\n")
    assert cli("keys", "reseal").code == 0
    assert [row["use"] for row in cli("keys", "list", "--json").json()] == ["seals", "replaced"]


@pytest.mark.process
def test_the_documented_way_on_many_machines(
    cli: Cli, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = Databases.lend(tmp_path)
    assert lent is not None
    path, old, new = tmp_path / "key", "ab" * 32, "cd" * 32
    path.touch(mode=0o600)
    path.write_text(old)
    monkeypatch.setenv("DATABASE_URL", lent)
    monkeypatch.setenv("CIPHER_KEY_FILE", str(path))
    cli("owner", "create", "small-shop")
    path.write_text(f"{old}\n{new}\n")
    server = serve()
    until(lambda: cli("nodes", "--json").json(), "the server among the nodes")
    assert [row["use"] for row in cli("keys", "list", "--json").json()] == ["seals", "to come"]
    os.utime(path, (0, 0))
    refused = cli("keys", "drop-old")
    assert refused.code == 1
    assert "has sealed nothing yet: it is to come, and servers work on the database" in refused.err
    assert "(pid " in refused.err
    assert path.read_text() == f"{old}\n{new}\n"
    assert server.stop() == 0
    path.write_text(f"{new}\n{old}\n")
    server = serve()
    assert "use" in cli("keys", "reseal", "--restarted").out
    assert [row["use"] for row in cli("keys", "list", "--json").json()] == ["seals", "replaced"]
    os.utime(path, (0, 0))
    assert cli("keys", "drop-old").code == 0
    assert path.read_text() == f"{new}\n"
    assert server.stop() == 0


def test_with_a_key_in_the_environment(cli: Cli, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPHER_KEY", "ab" * 32)
    cli("owner", "create", "small-shop")
    for command in ("rotate", "drop-old"):
        refused = cli("keys", command)
        assert refused.code != 0
        assert "in front of the old one" in refused.err
    monkeypatch.setenv("CIPHER_KEY", f"{'cd' * 32},{'ab' * 32}")
    assert "--restarted" in cli("keys", "reseal").err
    new, old = cli("keys", "reseal", "--restarted", "--json").json()
    assert (new["values"], old["values"]) == (2, 0)
    monkeypatch.setenv("CIPHER_KEY", "cd" * 32)
    assert cli("owner", "list").code == 0


@pytest.mark.process
def test_a_server_under_load_goes_on_and_loses_nothing(cli: Cli, serve: Serve, data_dir: Path) -> None:
    server = serve()
    key = cli("owner", "create", "small-shop", "--limit", "100000", "--json").json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    stop, accepted = threading.Event(), []

    def load(url: str) -> None:
        body = {"httpRequest": {"url": url, "method": "POST", "data": {"a": 1}}}
        with httpx.Client(base_url=server.url, headers=headers) as client:
            while not stop.is_set():
                answer = client.post("/v1/queues/batch", json={"tasks": [body] * 10})
                assert answer.status_code == 201, answer.text
                accepted.extend(task["id"] for task in answer.json()["tasks"])

    with Target() as target, httpx.Client(base_url=server.url, headers=headers) as client:
        loading = threading.Thread(target=load, args=(target.url(),))
        loading.start()
        try:
            until(lambda: len(accepted) >= 100, "tasks before the change")
            new, old = cli("keys", "rotate", "--json").json()
            count = len(accepted)
            until(lambda: len(accepted) >= count + 100, "tasks after the change")
        finally:
            stop.set()
            loading.join()
        assert (new["values"] > 0, old["values"]) == (True, 0)
        delivered = {request.header("X-Tasks-Queue-Id") for request in target.received}
        until(lambda: {one.header("X-Tasks-Queue-Id") for one in list(target.received)} >= set(accepted), "all calls")
        assert delivered <= set(accepted)
        ids = [accepted[0], accepted[-1]]
        until(lambda: all(client.get(f"/v1/queues/{id}").json()["state"] == "SUCCESS" for id in ids), "success")
    age(data_dir)
    assert [row["id"] for row in cli("keys", "drop-old", "--json").json()] == [new["id"]]
    assert server.stop() == 0
    again = serve()
    with httpx.Client(base_url=again.url, headers=headers) as client:
        for id in ids:
            assert client.get(f"/v1/queues/{id}/config").json()["httpRequest"]["data"] == {"a": 1}
        assert client.get("/v1/queues", params={"state": "ERROR"}).json() == []
        assert len(client.get("/v1/owners/small-shop/signing").json()["secrets"]) == 1
