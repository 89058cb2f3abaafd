"""The command line over a database in which something cannot be read: lists come, and say what, why and what to do."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.cli.conftest import Cli


def damage(data_dir: Path, statement: str) -> None:
    with closing(sqlite3.connect(data_dir / "tasks.sqlite")) as database, database:
        database.execute(statement)


def test_what_cannot_be_read_is_warned_of(cli: Cli, data_dir: Path) -> None:
    cli("owner", "create", "small-shop")
    submit = ("task", "submit", "http://a.test/", "-o", "small-shop", "--delay", "1h", "--json")
    good, bad = [cli(*submit).json()["id"] for _ in range(2)]
    damage(data_dir, f"UPDATE request SET spec = zeroblob(60) WHERE task = (SELECT seq FROM task WHERE id = '{bad}')")
    damage(data_dir, f"UPDATE task SET metadata = '{{broken' WHERE id = '{bad}'")
    listed = cli("task", "list")
    assert (listed.code, good in listed.out, bad in listed.out) == (0, True, True)
    assert f"warning: {bad}: its metadata cannot be read: it is damaged" in listed.err
    shown = cli("task", "show", bad)
    assert shown.code == 0
    assert "registered" in shown.out
    assert "the stored request of the task cannot be read: it is sealed in a form" in shown.err
    told: dict[str, Any] = cli("task", "show", bad, "--json").json()
    assert (told["request"], told["config"], "cannot be read" in told["unreadable"]) == (None, None, True)
    explained = cli("task", "explain", bad)
    assert (explained.code, "the stored request of the task cannot be read" in explained.err) == (3, True)
    assert cli("task", "revoke", bad).code == 0
    assert cli("logs").code == 0


def test_schedules_and_bulk_work_that_cannot_be_read(cli: Cli, data_dir: Path) -> None:
    cli("owner", "create", "small-shop")
    make = ("schedule", "create", "http://a.test/", "-o", "small-shop", "--cron", "@daily", "--json", "--name")
    good, bad, lost = [cli(*make, name).json()["id"] for name in ("good", "bad", "lost")]
    facts = "replace(facts, '@daily', '@rarely')"
    damage(data_dir, f"UPDATE schedule SET facts = {facts} WHERE id = '{bad}'")
    damage(data_dir, f"UPDATE schedule SET facts = '{{broken' WHERE id = '{lost}'")
    listed = cli("schedule", "list")
    assert listed.code == 0
    assert all(one in listed.out for one in (good, bad, lost))
    assert f"warning: {bad}: the schedule's cron expression cannot be read" in listed.err
    assert f"warning: {lost}: what is stored of the schedule cannot be read" in listed.err
    for command, one in (("preview", bad), ("resume", bad), ("show", lost)):
        refused = cli("schedule", command, one)
        assert (refused.code, "cannot be read" in refused.err) == (3, True)
    work = cli("bulk", "create", "retry", "-o", "small-shop", "--all", "--json").json()["id"]
    damage(data_dir, f"UPDATE bulk SET action = 'tickle' WHERE id = '{work}'")
    found = cli("bulk", "list")
    assert (found.code, f"warning: {work}: its action cannot be read" in found.err) == (0, True)
    assert "its action cannot be read" in cli("bulk", "show", work).out
