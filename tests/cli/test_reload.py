"""SIGHUP: the settings are read anew while the server goes on, whoever sends it; also when its terminal has gone."""

import os
import pty
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from tasks_server import wiring
from tasks_server.cli.rereading import InForce, in_force, reread
from tasks_server.domain.errors import SettingsError
from tasks_server.plans import Plan
from tasks_server.settings import resolve
from tasks_server.settings.places import cipher_keys, places, prepare
from tests.cli.conftest import DEADLINE_SECONDS, Serve, Server, lives, until

OLD_KEY, NEW_KEY = "the-old-admin-key-of-it", "the-new-admin-key-of-it"
LOOKING_KEY = "the-key-of-the-monitoring"
HANDLERS = """
import logging, os
from tasks_server import handlers

@handlers.register("talk")
def talk(payload):
    print("printed", flush=True)
    logging.getLogger("mine").debug("a detail of %s", payload)
    return os.getpid()
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file, and in its folder the module `talking`."""
    (tmp_path / "talking.py").write_text(HANDLERS)
    path = tmp_path / "settings.toml"
    path.write_text(f'admin_key = "{OLD_KEY}"\nhandlers = "talking"\n')
    return path


def events(server: Server, name: str) -> list[dict[str, Any]]:
    """What the log tells under this name."""
    lines = [line for line in server.log().splitlines() if line.startswith("{")]
    return [event for line in lines if (event := msgspec.json.decode(line))["event"] == name]


def reload(server: Server) -> None:
    """Has the settings read anew, and waits until that is told."""

    def told() -> int:
        return len(events(server, "settings_reloaded") + events(server, "settings_not_reloaded"))

    before = told()
    server.process.send_signal(signal.SIGHUP)
    until(lambda: told() > before, "what came of it")


def listing(server: Server, admin_key: str) -> int:
    """The status of an answer to the operator."""
    return httpx.get(f"{server.url}/v1/queues", headers={"Authorization": f"Bearer {admin_key}"}).status_code


def run_handler(url: str, key: str, payload: object = None) -> int:
    """The process in which the handler ran."""
    headers = {"Authorization": f"Bearer {key}"}
    made = httpx.post(f"{url}/tasks", json={"task_name": "talk", "payload": payload}, headers=headers).json()

    def shown() -> dict[str, Any]:
        return dict(httpx.get(f"{url}/tasks/{made['id']}", headers=headers).json())

    until(lambda: shown()["status"] in ("completed", "failed"), "the end of the run")
    assert shown()["status"] == "completed", shown()
    return int(shown()["result"])


def registered(url: str) -> str:
    answer = httpx.post(f"{url}/v1/owners/register", json={"name": "small-shop"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


# What is read


class Settled:
    """The settings of a server that was started with this file, as they are read again and again."""

    def __init__(self, config: Path) -> None:
        resolved = resolve({}, config)
        self.where = places(resolved.settings)
        prepare(self.where)
        keys = cipher_keys(resolved.settings, self.where, [], create=True)
        self.plan = wiring.plan(resolved.settings, self.where, keys, -1, True)
        self._in_force = in_force({}, config, resolved.settings, keys)

    def read(self) -> tuple[list[str], list[str]]:
        """Which settings are in force from now on, and which need a restart. The plan is that of the processes."""
        found = reread(self.plan, msgspec.json.decode(self._in_force, type=InForce))
        self.plan = msgspec.json.decode(found.plan, type=Plan)
        self._in_force = found.in_force
        return found.reloaded, found.restart


@pytest.fixture
def settled(config: Path) -> Settled:
    return Settled(config)


def test_nothing_has_changed(settled: Settled) -> None:
    before = settled.plan
    assert settled.read() == settled.read() == ([], [])
    assert settled.plan == before


def test_the_plan_has_what_is_reloaded_and_nothing_else(settled: Settled, config: Path) -> None:
    before = settled.plan
    config.write_text(f'admin_key = "{NEW_KEY}"\nlog_level = "error"\nswagger_ui = false\n')
    assert settled.read() == (["ADMIN_KEY", "LOG_LEVEL"], ["HANDLERS", "SWAGGER_UI"])
    api, log = replace(before.api, admin_key=NEW_KEY), replace(before.log, level="error")
    assert settled.plan == replace(before, api=api, log=log)
    assert settled.read() == ([], ["HANDLERS", "SWAGGER_UI"])


def test_what_is_changed_back_needs_no_restart(settled: Settled, config: Path) -> None:
    text = config.read_text()
    config.write_text(f"{text}retention_days = 9\n")
    assert settled.read() == ([], ["RETENTION_DAYS"])
    config.write_text(text)
    assert settled.read() == ([], [])


def test_an_admin_key_may_go(settled: Settled, config: Path) -> None:
    config.write_text('handlers = "talking"\n')
    assert settled.read() == (["ADMIN_KEY"], [])
    assert settled.plan.api.admin_key is None


def test_admin_keys_are_changed_without_a_pause(settled: Settled, config: Path) -> None:
    config.write_text(
        f'admin_key = "{NEW_KEY},{OLD_KEY}"\nadmin_key_read_only = "{LOOKING_KEY}"\nhandlers = "talking"\n'
    )
    assert settled.read() == (["ADMIN_KEY", "ADMIN_KEY_READ_ONLY"], [])
    assert settled.plan.api.admin_key == f"{NEW_KEY},{OLD_KEY}"
    assert settled.plan.api.admin_key_read_only == LOOKING_KEY


def test_settings_that_are_wrong_change_nothing(settled: Settled, config: Path) -> None:
    config.write_text(f'admin_key = "{NEW_KEY}"\nlog_level = "loud"\n')
    with pytest.raises(SettingsError, match="log_level") as told:
        settled.read()
    assert NEW_KEY not in told.value.message
    config.write_text(f'admin_key = "{NEW_KEY}"\nhandlers = "talking"\n')
    assert settled.read() == (["ADMIN_KEY"], [])


def test_keys_in_the_key_file_are_taken_over(settled: Settled) -> None:
    path = settled.where.key_file
    assert path is not None
    path.write_text("ab" * 32 + "\n" + path.read_text())
    assert settled.read() == (["the keys in cipher_key_file"], [])
    assert settled.plan.cipher_keys[0] == bytes.fromhex("ab" * 32)
    path.write_text("no key at all")
    with pytest.raises(SettingsError, match=str(path)):
        settled.read()


def test_another_key_file_or_a_key_in_the_settings_needs_a_restart(settled: Settled, config: Path) -> None:
    other = config.with_name("other.key")
    other.write_text("cd" * 32)
    before = settled.plan
    text = config.read_text()
    config.write_text(f'{text}cipher_key_file = "{other}"\n')
    assert settled.read() == ([], ["CIPHER_KEY_FILE"])
    config.write_text(f'{text}cipher_key = "{"cd" * 32}"\n')
    assert settled.read() == ([], ["CIPHER_KEY"])
    assert settled.plan == before


# The whole


@pytest.mark.process
def test_what_can_be_is_reloaded_and_the_rest_is_named(serve: Serve, config: Path) -> None:
    server = serve("--config", str(config), folder=config.parent)
    children = server.pids("api") + server.pids("engine")
    key = registered(server.url)
    runner = run_handler(server.url, key, "the old level")
    config.write_text(
        f'admin_key = "{NEW_KEY}"\nadmin_key_read_only = "{LOOKING_KEY}"\nhandlers = "talking"\nlog_level = "debug"\n'
        'retention_days = 9\ntz = "Europe/Berlin"\n'
    )
    reload(server)
    (reloaded,) = events(server, "settings_reloaded")
    assert reloaded["settings"] == "ADMIN_KEY, ADMIN_KEY_READ_ONLY, LOG_LEVEL"
    until(lambda: bool(events(server, "restart_needed")), "what takes a restart")
    (restart,) = events(server, "restart_needed")
    assert restart["settings"] == "RETENTION_DAYS, TZ"
    assert NEW_KEY not in server.log()
    until(lambda: listing(server, NEW_KEY) == 200, "the new key")
    assert listing(server, OLD_KEY) == 401
    assert listing(server, LOOKING_KEY) == 200
    until(lambda: events(server, "request_served"), "lines of the API at the new level")  # type: ignore[arg-type,return-value]  # truth is enough
    until(
        lambda: run_handler(server.url, key, "the new level") == runner and bool(events(server, "handler_detail")),
        "lines of handlers at the new level",
    )
    assert events(server, "attempt_ended")
    assert server.pids("api") + server.pids("engine") == children
    assert "the old level" not in str(events(server, "handler_detail"))
    (before,) = server.pids("api")
    os.kill(before, signal.SIGKILL)
    until(lambda: server.pids("api") not in ([], [before]), "the next process")
    assert listing(server, NEW_KEY) == 200


@pytest.mark.process
def test_signals_that_mean_nothing_end_nothing(serve: Serve, config: Path) -> None:
    server = serve("--config", str(config), folder=config.parent)
    key = registered(server.url)
    runner = run_handler(server.url, key)
    children = server.pids("api") + server.pids("engine")
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGINT):
        for pid in [*children, runner, *([server.process.pid] if number != signal.SIGINT else [])]:
            os.kill(pid, number)
    until(lambda: len(events(server, "signal_ignored")) == 3, "the events")
    assert run_handler(server.url, key) == runner
    assert server.pids("api") + server.pids("engine") == children
    assert server.stop() == 0


# Terminals


class Session:
    """A server in the foreground of a terminal, as in an ssh session."""

    def __init__(self, config: Path) -> None:
        self.terminal, theirs = pty.openpty()
        words = [sys.executable, "-P", "-m", "tasks_server", "serve", "--port", "0", "--config", str(config)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_THE_FOREGROUND, *words],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, cwd=config.parent,
        )  # fmt: skip
        os.close(theirs)
        self.url = ""
        shown = b""
        while b"Key file" not in shown:
            shown += os.read(self.terminal, 65_536)
        self.url = next(word for word in shown.decode().split() if word.startswith("http://"))

    def close(self) -> None:
        """The connection breaks."""
        os.close(self.terminal)
        self.terminal = -1


_IN_THE_FOREGROUND = textwrap.dedent("""
    import fcntl, os, sys, termios
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.execv(sys.argv[1], sys.argv[1:])
""")


@pytest.fixture
def session(config: Path) -> Iterator[Session]:
    started = Session(config)
    yield started
    if started.terminal >= 0:
        started.close()
    started.process.terminate()
    assert started.process.wait(DEADLINE_SECONDS) == 0


@pytest.mark.process
def test_a_server_outlives_its_terminal(session: Session) -> None:
    """It goes on, and so do handlers that print; who wants to see its lines gives them another place."""
    key = registered(session.url)
    runner = run_handler(session.url, key)
    os.write(session.terminal, b"\x1c")  # Ctrl-\\ is SIGQUIT
    shown = b""
    while b"signal ignored" not in shown:
        shown += os.read(session.terminal, 65_536)
    session.close()
    until(lambda: all(nowhere(pid) for pid in (session.process.pid, runner)), "the end of the terminal")
    assert run_handler(session.url, key) == runner
    assert lives(session.process.pid)


def nowhere(pid: int) -> bool:
    """Whether what the process prints leads nowhere."""
    return {os.readlink(f"/proc/{pid}/fd/{stream}") for stream in (0, 1, 2)} == {os.devnull}
