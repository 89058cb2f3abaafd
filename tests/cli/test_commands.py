"""The commands for owners and tasks, on a database without a server."""

import asyncio
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from tasks_server import __version__
from tasks_server.store.sqlite.nodes import Nodes
from tests.cli.conftest import Cli, Result

UNKNOWN = "0" * 24


@pytest.fixture
def shop(cli: Cli) -> dict[str, Any]:
    """An owner."""
    created = cli("owner", "create", "small-shop", "--json").json()
    assert isinstance(created, dict)
    return created


@pytest.fixture
def task(cli: Cli, shop: dict[str, Any]) -> dict[str, Any]:
    """A task that waits for an hour."""
    submitted = submit(cli, "--delay", "1h", "--json").json()
    assert isinstance(submitted, dict)
    return submitted


def submit(cli: Cli, *options: str) -> Result:
    return cli("task", "submit", "http://shop.test/hook?token=1", "--owner", "small-shop", *options)


def shown(cli: Cli, task_id: str) -> Any:
    return cli("task", "show", task_id, "--json").json()


# The whole


def test_version(cli: Cli) -> None:
    result = cli("--version")
    assert (result.code, result.out) == (0, f"tasks-server {__version__}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "-h"], ["owner", "--help"], ["task", "submit", "--help"]])
def test_help(cli: Cli, arguments: list[str]) -> None:
    result = cli(*arguments)
    assert result.code == 0
    assert "Usage" in result.out


@pytest.mark.parametrize("arguments", [["nonsense"], ["owner", "create"], ["task", "list", "--limit", "0"]])
def test_a_wrong_command_line_ends_with_status_2(cli: Cli, arguments: list[str]) -> None:
    assert cli(*arguments).code == 2


def test_what_is_made_is_private(cli: Cli, shop: dict[str, Any], data_dir: Path) -> None:
    for path in [data_dir, *data_dir.iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path


# Owners


def test_create_shows_the_key_once_and_what_to_do_next(cli: Cli) -> None:
    result = cli("owner", "create", "small-shop", "--limit", "7")
    assert result.code == 0
    assert "may have 7 tasks in queue" in result.out
    assert "task submit https://example.com --owner small-shop" in result.out
    (key,) = (line.split()[1] for line in result.out.splitlines() if line.startswith("  key"))
    assert len(key) == 64
    assert key not in cli("owner", "list", "--json").out


def test_create_refuses_a_name_that_is_taken(cli: Cli, shop: dict[str, Any]) -> None:
    result = cli("owner", "create", "small-shop")
    assert (result.code, result.out) == (1, "")
    assert "the name small-shop is taken" in result.err
    told = cli("owner", "create", "small-shop", "--json")
    assert told.code == 1
    assert '"code":"owner_name_taken"' in told.err


def test_create_refuses_a_name_that_is_none(cli: Cli) -> None:
    result = cli("owner", "create", "Shop!", "--json")
    assert result.code == 2
    assert '"field":"name"' in result.err


def test_list_shows_every_owner(cli: Cli, shop: dict[str, Any]) -> None:
    cli("owner", "create", "other-shop")
    owners = cli("owner", "list", "--json").json()
    assert isinstance(owners, list)
    assert [owner["name"] for owner in owners] == ["other-shop", "small-shop"]
    assert owners[1]["id"] == shop["id"]
    table = cli("owner", "list").out
    assert "small-shop" in table
    assert shop["id"] in table


def test_an_empty_list_says_how_to_begin(cli: Cli, shop: dict[str, Any]) -> None:
    cli("owner", "delete", "small-shop")
    assert "owner create NAME" in cli("owner", "list").out
    assert cli("task", "list").out == "There are no such tasks.\n"


def test_before_the_first_start_lists_say_where_they_looked(cli: Cli, data_dir: Path) -> None:
    result = cli("owner", "list")
    assert result.code == 3
    assert f"there is no database {data_dir}/tasks.sqlite" in result.err
    assert not data_dir.exists()


def test_a_limit_can_be_set(cli: Cli, task: dict[str, Any]) -> None:
    assert "may have 1 tasks in queue; it has 1" in cli("owner", "set-limit", "small-shop", "1").out
    assert submit(cli).code == 1
    limited = cli("owner", "set-limit", "small-shop", "2", "--json").json()
    assert isinstance(limited, dict)
    assert limited["tasksInQueueLimit"] == 2
    assert submit(cli).code == 0


def test_an_owners_history_is_kept_for_as_long_as_the_operator_says(cli: Cli, shop: dict[str, Any]) -> None:
    assert shop["retentionDays"] is None
    for text, days in (("90", 90), ("12h", 0.5), ("0.25", 0.25), ("default", None)):
        assert cli("owner", "set-retention", "small-shop", text, "--json").json()["retentionDays"] == days
    assert "for 30 days" in cli("owner", "set-retention", "small-shop", "30").out
    assert cli("owner", "list", "--json").json()[0]["retentionDays"] == 30
    for text in ("soon", "59m", "3651", "inf"):
        refused = cli("owner", "set-retention", "small-shop", text)
        assert (refused.code, refused.out) == (2, "")


def test_an_owner_goes_when_its_tasks_are_done(cli: Cli, task: dict[str, Any]) -> None:
    refused = cli("owner", "delete", "small-shop")
    assert refused.code == 1
    assert "has tasks in queue" in refused.err
    cli("task", "revoke", task["id"])
    assert cli("owner", "delete", "small-shop", "--json").json() == {"deleted": "small-shop"}
    assert cli("owner", "delete", "small-shop").code == 1


# Tasks


def test_submit_takes_a_whole_request(cli: Cli, shop: dict[str, Any]) -> None:
    result = submit(
        cli,
        *("-X", "put", "-H", "X-One: a: b", "-H", "X-Two:c", "--query", "q=1=2", "--data", "@literal"),
        *("--at", "2099-01-01T00:00:00Z", "--retry", "3", "--retry-interval", "10s", "--retry-backoff", "exponential"),
        *("--timeout", "5s", "--expire-at", "2099-01-02T00:00:00Z", "--priority", "9", "--lane", "slow"),
        *("--metadata", "order=12=3", "--json"),
    )
    assert result.code == 0, result.err
    task = result.json()
    assert isinstance(task, dict)
    assert (task["state"], task["phase"]) == ("RUNNING", "scheduled")
    assert (task["phase"], task["owner"], task["due_at"]) == ("scheduled", shop["id"], 4_070_908_800_000)
    told = shown(cli, task["id"])
    request, config = told["request"], told["config"]
    assert request["method"] == "PUT"
    assert request["headers"] == {"X-One": "a: b", "X-Two": "c"}
    assert request["query"] == {"q": "1=2"}
    assert request["data"] == "@literal"
    assert (config["retry"], config["retryInterval"], config["retryBackoff"]) == (3, 10_000, "exponential")
    assert (config["timeout"], config["priority"], config["lane"]) == (5_000, 9, "slow")
    assert told["metadata"] == {"order": "12=3"}


def test_data_makes_it_a_post(cli: Cli, shop: dict[str, Any]) -> None:
    result = submit(cli, "--json-data", '{"a": [1, null]}', "--delay", "1h", "--json")
    request = shown(cli, result.json()["id"])["request"]
    assert (request["method"], request["data"]) == ("POST", {"a": [1, None]})


def test_faults_are_told_by_option_all_at_once(cli: Cli, shop: dict[str, Any]) -> None:
    result = cli(
        *("task", "submit", "ftp://x", "--owner", "small-shop", "--retry-interval", "3", "--at", "soon"),
        *("-H", "Content-Length: 3", "--priority", "11", "--metadata", "a b=x"),
    )
    assert result.code == 2
    for option in ("URL:", "--retry-interval:", "--at:", "--header Content-Length:", "--priority:", "--metadata"):
        assert f"tasks-server: {option}" in result.err, result.err


def test_options_without_form_are_told_too(cli: Cli, shop: dict[str, Any]) -> None:
    result = submit(cli, "-H", "bad", "--query", "bad", "--data", "x", "--json-data", "[1]")
    assert result.code == 2
    for option in ("--header:", "--query:", "--json-data: cannot be joined", "--json-data: must be a JSON object"):
        assert f"tasks-server: {option}" in result.err, result.err


def test_submit_for_nobody(cli: Cli, shop: dict[str, Any]) -> None:
    result = cli("task", "submit", "http://shop.test", "--owner", "nobody")
    assert result.code == 1
    assert "there is no owner of this name" in result.err


def test_list_filters(cli: Cli, task: dict[str, Any]) -> None:
    other = cli("owner", "create", "other-shop", "--json").json()["id"]
    second = submit(cli, "--delay", "2h", "--json").json()["id"]
    cli("task", "pause", second)

    def ids(*options: str) -> list[str]:
        return [entry["id"] for entry in cli("task", "list", "--json", *options).json()]

    assert ids() == [second, task["id"]]
    assert ids("--limit", "1") == [second]
    assert ids("--state", "paused") == ids("--state", "PAUSED") == [second]
    assert ids("--state", "RUNNING") == [task["id"]]
    assert ids("--state", "running") == []
    assert ids("--state", "scheduled", "--state", "running") == [task["id"]]
    assert ids("--owner", "other-shop") == []
    assert other not in cli("task", "list").out
    assert "small-shop" in cli("task", "list").out


def test_show_tells_what_happened(cli: Cli, task: dict[str, Any]) -> None:
    cli("task", "pause", task["id"])
    result = cli("task", "show", task["id"])
    assert result.code == 0
    for text in (task["id"], "PAUSED", "GET http://shop.test/hook?token=***", "registered", "pause"):
        assert text in result.out
    (registered,) = (line for line in result.out.splitlines() if " registered " in line)
    timeline = cli("task", "show", task["id"], "--json").json()["timeline"]
    assert f".{timeline[0]['at'] % 1_000:03}+00:00 " in registered


def test_steering(cli: Cli, task: dict[str, Any]) -> None:
    task_id = task["id"]
    steps = [("pause", "paused"), ("resume", "scheduled"), ("run", "available"), ("revoke", "revoked")]
    for command, state in [*steps, ("retry", "available")]:
        result = cli("task", command, task_id)
        assert result.code == 0, result.err
        assert task_id in result.out
        assert shown(cli, task_id)["phase"] == state
    assert cli("task", "delete", task_id, "--json").json() == [{"id": task_id, "error": None}]
    assert cli("task", "show", task_id).code == 1


def test_what_still_holds_a_task_that_is_to_run_now_is_told(cli: Cli, task: dict[str, Any]) -> None:
    told = cli("task", "run", task["id"]).out
    assert told.startswith(f"Task {task['id']} is first in line. No engine has ever run on this database. "), told
    assert cli("task", "run", task["id"], "--json").json() == [{"id": task["id"], "error": None}]


def test_what_one_task_refuses_does_not_keep_the_others(cli: Cli, task: dict[str, Any]) -> None:
    cli("task", "pause", task["id"])
    result = cli("task", "resume", UNKNOWN, task["id"], "no-id")
    assert result.code == 1
    assert result.out == f"Task {task['id']} goes on.\n"
    assert result.err.count("there is no task of this id") == 2
    assert shown(cli, task["id"])["phase"] == "scheduled"
    refused = cli("task", "resume", task["id"])
    assert refused.code == 1
    assert "only a paused task can be resumed" in refused.err


# The store


def test_another_key_is_told_in_one_sentence(cli: Cli, shop: dict[str, Any], data_dir: Path) -> None:
    (data_dir / "cipher.key").write_text("f" * 64)
    result = cli("owner", "list")
    assert result.code == 3
    assert "key" in result.err
    assert result.err.count("\n") == 1


def test_a_damaged_file_is_told_in_one_sentence(cli: Cli, shop: dict[str, Any], data_dir: Path) -> None:
    (data_dir / "tasks.sqlite").write_bytes(b"this is no database at all" * 1_000)
    for leftover in ("tasks.sqlite-wal", "tasks.sqlite-shm"):
        (data_dir / leftover).unlink(missing_ok=True)
    result = cli("owner", "list")
    assert result.code == 3
    assert str(data_dir / "tasks.sqlite") in result.err
    assert result.err.count("\n") == 1


def test_a_reader_that_has_seen_enough(cli: Cli, shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("tasks_server.cli.output.as_json", broken)
    monkeypatch.setattr("sys.stderr.close", lambda: None)
    assert cli("owner", "list", "--json").code == 0


def test_tables_hold_no_control_characters(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    from tasks_server.cli import output

    output.table(("a",), [("x\x1b[2Jy",)])
    assert "\x1b" not in capsys.readouterr().out
    assert os.environ["COLUMNS"]


def test_a_name_is_given_once(cli: Cli, shop: dict[str, str]) -> None:
    given = ("task", "submit", "http://target.test/", "--owner", shop["name"])
    refused = cli(*given, "--query", "a=1", "--query", "a=2", "--header", "X-A: 1", "--header", "X-A: 2")
    assert refused.code == 2
    assert "--query: names this twice" in refused.err
    assert "--header: names this twice" in refused.err
    assert cli("task", "list", "--json").json() == []


def test_a_byte_order_mark_in_json_says_nothing(cli: Cli, shop: dict[str, str]) -> None:
    marked = submit(cli, "--json-data", '\ufeff{"a": 1}', "--delay", "1h", "--json").json()
    assert marked["state"] == "RUNNING"
    sent = cli("task", "submit", "-o", "small-shop", "--handler", "a", "--payload", "\ufeff[1]", "--json").json()
    assert sent["state"] == "RUNNING"


LATIN = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["task", "submit", "http://a.test/", "-o", "small-shop", "--data", LATIN], "--data"),
        (["task", "submit", "http://a.test/", "-o", "small-shop", f"--data={LATIN}"], "--data"),
        (["task", "submit", "http://a.test/", "-o", "small-shop", "-H", f"A: {LATIN}"], "-H"),
        (["task", "submit", "-o", "small-shop", "--handler", "a", "--payload", f'"{LATIN}"'], "--payload"),
        (["task", "submit", f"http://a.test/{LATIN}", "-o", "small-shop"], "argument"),
        (["bulk", "create", "retry", "-o", "small-shop", "--error", LATIN], "--error"),
        (["owner", "create", LATIN], "argument"),
        (["owner", "list", "--data-dir", LATIN], "--data-dir"),
    ],
)
def test_arguments_are_text_in_utf_8(cli: Cli, shop: dict[str, str], command: list[str], option: str) -> None:
    refused = cli(*command)
    assert refused.code == 2
    assert re.fullmatch(
        rf"tasks-server: {option}: is no text in UTF-8: byte \d+ is 0xe9; send it in UTF-8\n", refused.err
    )


def test_what_is_compressed_is_called_so(cli: Cli, shop: dict[str, str]) -> None:
    refused = submit(cli, "--json-data", os.fsdecode(b"\x1f\x8b\x08x"))
    assert (refused.code, refused.err) == (2, "tasks-server: --json-data: is compressed (gzip); send it plain\n")


def test_the_name_of_a_file_may_be_any_bytes(cli: Cli, tmp_path: Path) -> None:
    file = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.toml")
    Path(file).write_text("port = 77\n")
    assert "77" in cli("settings", "--config", file).out
    assert "77" in cli("settings", f"--config={file}").out


def test_words_are_taken_in_any_case(cli: Cli, shop: dict[str, str]) -> None:
    sent = submit(cli, "--method", "post", "--retry-backoff", "FIXED", "--delay", "1h", "--json").json()
    told = shown(cli, sent["id"])
    assert (told["request"]["method"], told["config"]["retryBackoff"]) == ("POST", "fixed")
    listed = {state: cli("task", "list", "--state", state, "--json").json() for state in ("Running", "Scheduled")}
    assert [one["id"] for one in listed["Running"]] == [one["id"] for one in listed["Scheduled"]] == [sent["id"]]
    assert cli("logs", "--state", "Stopped", "--state", "HTTP_Error").code == 0
    work = cli("bulk", "create", "REVOKE", "--owner", "small-shop", "--state", "Running", "--dry-run", "--json").json()
    assert (work["action"], work["filter"]["states"], work["changed"]) == ("revoke", ["RUNNING"], 1)
    when = ("--every", "1h", "--missed", "Skip", "--overlap", "BUFFER")
    rule = cli("schedule", "create", "http://a.test/", "-o", "small-shop", "--name", "a", *when, "--json").json()
    assert (rule["missed"], rule["overlap"]) == ("skip", "buffer")


def test_states_are_shown_in_the_words_of_the_api(cli: Cli, shop: dict[str, str]) -> None:
    waiting = cli("task", "submit", "http://target.test/", "--owner", shop["name"], "--delay", "1h", "--json").json()
    assert isinstance(waiting, dict)
    assert (waiting["state"], waiting["phase"]) == ("RUNNING", "scheduled")
    assert "RUNNING (scheduled)" in cli("task", "list").out
    assert cli("task", "pause", waiting["id"]).code == 0
    assert "PAUSED" in cli("task", "show", waiting["id"]).out
    refused = cli("task", "list", "--state", "waiting")
    assert refused.code == 2
    assert "--state: is no state" in refused.err
    assert "RUNNING, PAUSED, SUCCESS, ERROR, REVOKED, scheduled" in refused.err


def test_nodes_of_sqlite_are_its_engines(cli: Cli, data_dir: Path) -> None:
    assert cli("owner", "create", "first-shop").code == 0
    assert cli("nodes").out == "No process works on the database.\n"
    engine = Nodes(data_dir / "tasks.sqlite")

    with asyncio.Runner() as runner:

        async def join() -> None:
            engine.open()
            engine.join()

        runner.run(join())
        found = cli("nodes", "--json").json()
        engine.close()
    assert isinstance(found, list)
    (node,) = found
    assert (node["role"], node["alive"], node["host"]) == ("engine", True, socket.gethostname())
    assert (node["pid"], node["engine"]) == (None, None)  # it has told nothing yet
    assert cli("nodes", "--json").json() == []


# Handlers


def test_submit_stores_a_handler(cli: Cli) -> None:
    cli("owner", "create", "small-shop")
    done = cli("task", "submit", "--handler", "send-email", "--payload", '{"to": "a"}', "-o", "small-shop", "--json")
    assert done.code == 0, done.err
    shown = cli("task", "show", done.json()["id"], "--json").json()
    assert (shown["request"], shown["handler"]) == (None, {"name": "send-email", "payload": {"to": "a"}})
    assert "handler send-email" in cli("task", "show", done.json()["id"]).out
    made = cli(
        *("schedule", "create", "--handler", "curl", "--payload", '"http://a.test"', "-o", "small-shop"),
        *("--name", "nightly", "--every", "1h", "--json"),
    )
    assert made.code == 0, made.err
    assert made.json()["task"]["handler"] == {"name": "curl", "payload": "http://a.test"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "URL: is required, or --handler in its place"),
        (["--payload", "1"], "--payload: is for a handler"),
        (["http://a.test", "--handler", "a"], "URL: belongs to a request"),
        (["--handler", "a", "-H", "A: b", "--json-data", "{}"], "--header: belongs to a request"),
        (["--handler", "a", "-H", "A: b", "--json-data", "{}"], "--json-data: belongs to a request"),
        (["--handler", "a b"], "--handler: must be text"),
        (["--handler", "a", "--payload", "{"], "--payload: is not JSON"),
        (["--handler", "a", "--payload", "NaN"], "--payload: is not JSON"),
        (["--handler", "a", "--payload", "[" * 33 + "]" * 33], "--payload: is nested too deep"),
        (["http://a.example", "--json-data", "[1]"], "--json-data: must be a JSON object; --data sends text"),
    ],
)
def test_submit_tells_what_is_wrong_with_a_handler(cli: Cli, options: list[str], told: str) -> None:
    cli("owner", "create", "small-shop")
    done = cli("task", "submit", *options, "-o", "small-shop")
    assert done.code != 0
    assert f"tasks-server: {told}" in done.err
