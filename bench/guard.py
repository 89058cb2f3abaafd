"""How long another owner is held while somebody sends the dearest requests that each route takes.

One owner has 100 000 finished tasks and one task with 500 000 attempts, and sends each case of `guard_cases` over some
connections at once. Beside it another owner asks for `/status`, reads a task of its own and registers one, without a
pause. What holds it up may be the machine: so a thread that only answers on a socket, and for registrations a page that
is brought to the disk, are timed at the same moments, and what they are late is taken off.
"""

import contextlib
import http.client
import json
import multiprocessing
import os
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

from bench import databases, report
from bench.databases import Database, Postgres
from bench.guard_cases import Case, all_cases
from bench.report import Report, say
from bench.rows import Filler, PostgresFiller
from bench.server import Account, Server
from tasks_server.api.app import ApiConfig, create_app
from tasks_server.clock import SystemClock
from tasks_server.domain import limits
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore
from tasks_server.telemetry import Telemetry

_BATCH: Final = "/v1/queues/batch"
_BATCH_BYTES: Final = 8 * 1024 * 1024
_ATTACKERS: Final = 4
_HELD_MS_MAX: Final = 100.0
_TIMEOUT_SECONDS: Final = 60.0
_ATTEMPTS: Final = """
WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
INSERT INTO attempt (task, number, owner, due_at, started_at, ended_at, outcome, status_code)
SELECT :task, i, :owner, :now + i, :now + i, :now + i, 'success', 200 FROM n
"""
_ATTEMPTS_POSTGRES: Final = b"""
INSERT INTO attempt (task, number, owner, day, due_at, started_at, ended_at, status_code, outcome)
SELECT %(task)s, i, %(owner)s, -1, %(now)s + i, %(now)s + i, %(now)s + i, 200, 'success'
FROM generate_series(1, %(count)s) AS i
"""


def routes_cases() -> list[Case]:
    """The cases of every route of the API."""
    clock = SystemClock()
    store = SqliteStore(None, Sealer(bytes(32)), clock)
    telemetry = Telemetry(clock, form="json", write=lambda _: None)
    app = create_app(store, clock=clock, telemetry=telemetry, config=ApiConfig())
    return all_cases(app.table, {_BATCH: _BATCH_BYTES}, limits.BODY_REQUEST_MAX_BYTES)


def fill(server: Server, account: Account, tasks: int, attempts: int) -> str:
    """Gives an owner so many finished tasks, and one of them so many attempts. The id of that one."""
    now = int(time.time() * 1_000)
    postgres = server.database if isinstance(server.database, Postgres) else None
    filler = PostgresFiller(postgres) if postgres else Filler(server.file)
    with filler as into:
        into.add(tasks, "completed", owner=account.name, now=now)
        owner = into.owner(account.name)
    values = {"task": 1, "owner": owner, "now": now - attempts, "count": attempts}
    if postgres:
        with postgres.connected() as connection:
            connection.execute(_ATTEMPTS_POSTGRES, values)
            connection.execute("UPDATE task SET attempt = %(count)s WHERE seq = %(task)s", values)
            connection.execute("INSERT INTO metadata SELECT owner, 'z', 'same', seq FROM task")
            connection.execute("ANALYZE")
    else:
        with contextlib.closing(sqlite3.connect(server.file)) as file:
            file.execute(_ATTEMPTS, values)
            file.execute("UPDATE task SET attempt = :count WHERE seq = :task", values)
            file.execute("INSERT INTO metadata SELECT owner, 'z', 'same', seq FROM task")
            file.commit()
    return "0" * 23 + "1"


class Asker:
    """A connection that is kept, and made anew when the server has closed it."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
        self._headers = {"Authorization": f"Bearer {key}"}

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = self._headers | ({"Content-Type": "application/json"} if body is not None else {})
        try:
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, b""


def attack(port: int, key: str, cases: Any) -> None:
    """A process that sends what comes over its pipe, again and again until the next comes. It ends by being killed."""
    asker = Asker(port, key)
    asked = cases.recv()
    while True:
        method, path, body = asked
        asker.ask(method, path, body)
        if cases.poll():
            asked = cases.recv()


def watch(port: int, key: str, task: str, out: Any) -> None:
    """A process that is the other owner: sends (instant, what, seconds) of everything that it asked for, and how late
    the machine itself was at that time.
    """
    asker, body = Asker(port, key), _TASK
    asks = {
        "status": ("GET", "/status", None),
        "read": ("GET", f"/v1/queues/{task}", None),
        "register": ("POST", "/v1/queues/register", body),
    }
    near, far = socket.socketpair()
    threading.Thread(target=_echo, args=(far,), daemon=True).start()
    disk = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
    while True:
        for what, ask in asks.items():
            began = time.monotonic()
            near.send(b"x")
            time.sleep(0.001)
            near.recv(1)
            if what == "register":  # which waits for the disk, and whoever else writes to it
                disk.write(b"x" * 4_096)
                disk.flush()
                os.fdatasync(disk.fileno())
            late = time.monotonic() - began - 0.001
            began = time.monotonic()
            status, _ = asker.ask(*ask)
            out.send((began, what, time.monotonic() - began, late, status))


def _echo(far: socket.socket) -> None:
    while data := far.recv(1):
        far.send(data)


_TASK: Final = json.dumps(
    {"httpRequest": {"url": "http://127.0.0.1:9/", "method": "GET"}, "config": {"executionDelay": 10**9}}
).encode()


def measure(
    server: Server, hog: Account, other: Account, long: str, seconds: float
) -> tuple[dict[str, Any], list[str]]:
    """By case: the longest that the other owner waited, and that the machine was late, in ms."""
    task = json.loads(Asker(server.port, other.key).ask("POST", "/v1/queues/register", _TASK)[1])["id"]
    ours, theirs = multiprocessing.Pipe()
    watcher = multiprocessing.Process(target=watch, args=(server.port, other.key, task, theirs), daemon=True)
    pipes = [multiprocessing.Pipe() for _ in range(_ATTACKERS)]
    attackers = [
        multiprocessing.Process(target=attack, args=(server.port, hog.key, far), daemon=True) for _, far in pipes
    ]
    found: dict[str, Any] = {}
    cases = [Case("nothing", "GET", "/livez-is-not-there"), *routes_cases()]
    last = [case for case in cases if case.method == "DELETE"]
    for process in (watcher, *attackers):
        process.start()
    try:
        for case in [*(case for case in cases if case not in last), *last]:
            path = case.path.replace("{id}", long).replace("{name}", hog.name)
            asked = (case.method, f"{path}?{case.query}", case.body() if case.body else None)
            for near, _ in pipes:
                near.send(asked)
            found[case.what] = _watched(ours, seconds)
            say(f"{case.what}: {found[case.what]}")
    finally:
        for process in (*attackers, watcher):  # a word over a pipe that is full, or that nobody reads, would wait
            process.kill()
            process.join()
    return found, [f"{what}: {one}" for what, one in found.items() if one["held_ms"] > _HELD_MS_MAX]


def _watched(ours: Any, seconds: float) -> dict[str, Any]:
    """What the other owner tells in that time: of those that began after the case did."""
    begins, refused = time.monotonic(), 0
    waits: dict[str, float] = {}
    machine: dict[str, float] = {}
    began = begins
    while began < begins + seconds:
        began, what, took, late, status = ours.recv()
        if began < begins:
            continue
        refused += status not in (200, 201)
        machine[what] = max(machine.get(what, 0.0), late)
        waits[what] = max(waits.get(what, 0.0), took)
    told = {f"{what}_ms": round(took * 1_000, 1) for what, took in waits.items()}
    held = max(0.0, *(took - machine[what] for what, took in waits.items()))
    late = round(max(machine.values()) * 1_000, 1)
    return told | {"machine_ms": late, "held_ms": round(held * 1_000, 1), "refused": refused}


def run(folder: Path, database: Database, size: tuple[int, int], seconds: float) -> tuple[dict[str, Any], list[str]]:
    server = Server(folder / "data", role="api", database=database)
    hog, other = server.account("bench-hog"), server.account("bench-other")
    say(f"filling: {size[0]} finished tasks, {size[1]} attempts of one")
    long = fill(server, hog, *size)
    with server:
        found, faults = measure(server, hog, other, long, seconds)
        held = [line for line in server.complaints() if "loop_held" in line]
    worst = sorted(found, key=lambda what: -float(found[what]["held_ms"]))[:10]
    results = {
        "cases": len(found),
        "held_ms": found[worst[0]]["held_ms"],
        "worst": {what: found[what] for what in worst},
        "loop_held": len(held),
        "loop_held_said": held[:20],
    }
    return results, faults


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--seconds", type=float, help="how long each case is sent (default: 1; quick: 0.3)")
    databases.choose(parser)
    arguments = parser.parse_args()
    seconds = arguments.seconds or (0.3 if arguments.quick else 1.0)
    size = (10_000, 50_000) if arguments.quick else (100_000, 500_000)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, databases.database(arguments.store) as database:
        results, faults = run(Path(folder), database, size, seconds)
        conditions = database.conditions
    name = databases.named("guard", arguments.store)
    parameters = {"seconds": seconds, "tasks": size[0], "attempts": size[1], "connections": _ATTACKERS}
    return report.finish(Report(name, arguments.quick, parameters, results, faults, conditions))


if __name__ == "__main__":
    sys.exit(main())
