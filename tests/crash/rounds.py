"""Rounds of sudden death under load: accepted tasks against what the target saw.

    python -m tests.crash.rounds --rounds 10

Prints its seed, what it found and how long each restart took, as JSON.
"""

import argparse
import contextlib
import http.client
import json
import random
import sqlite3
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .server import Server
from .target import Target

_DELAYS_MS = (1, 50, 400, 1_500)


@dataclass
class Findings:
    """What the rounds brought. `accepted` are the ids that got a 201."""

    seed: int
    rounds: int
    accepted: list[str] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unfinished: int = 0
    early: int = 0
    repeated: int = 0
    told_wrongly: list[str] = field(default_factory=list)
    """Of whose end no callback, or more than one, was made; or one that was not delivered."""

    def summary(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "rounds": self.rounds,
            "accepted": len(self.accepted),
            "missing": len(self.missing),
            "unfinished": self.unfinished,
            "early": self.early,
            "repeated": self.repeated,
            "told_wrongly": len(self.told_wrongly),
            "restart_seconds_max": round(max(self.restarts, default=0), 3),
            "restart_seconds": [round(seconds, 3) for seconds in self.restarts],
        }


class Load(threading.Thread):
    """Registers tasks one after the other, and goes on when the server is away."""

    def __init__(self, server: Server, key: str, target: Target, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._server, self._key, self._target, self._chance = server, key, target, chance
        self._ending = threading.Event()
        self.accepted: list[str] = []

    def end(self) -> None:
        self._ending.set()
        self.join(30)

    def run(self) -> None:
        while not self._ending.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=5)
            try:
                while not self._ending.is_set():
                    self._register(connection)
            except (OSError, http.client.HTTPException):
                self._ending.wait(0.01)
            finally:
                connection.close()

    def _register(self, connection: http.client.HTTPConnection) -> None:
        due = time.time_ns() // 1_000_000 + self._chance.choice(_DELAYS_MS)
        url = f"http://127.0.0.1:{self._target.port}/?due={due}"
        body = {"httpRequest": {"url": url, "method": "GET"}, "config": {"executeAt": due, "executeImmediately": True}}
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/queues/register", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 201:
            self.accepted.append(json.loads(text)["id"])
        elif answer.status != 503:
            raise AssertionError(f"{answer.status}: {text.decode()}")


def wait_until_final(server: Server, key: str, name: str, seconds: float) -> int:
    """Waits until the owner has no task in queue; how many there still are."""
    until = time.monotonic() + seconds
    while True:
        _, owner = server.ask("GET", f"/v1/owners/{name}", key=key)
        if not owner["tasksInQueue"] or time.monotonic() > until:
            return int(owner["tasksInQueue"])
        time.sleep(0.05)


def run(rounds: int, folder: Path, seed: int, threads: int = 4) -> Findings:
    """Kills the server, or one of its processes, at random moments; the findings once all is quiet."""
    chance = random.Random(seed)
    findings = Findings(seed, rounds)
    server = Server(folder)
    with Target() as target:
        findings.restarts.append(server.start())
        status, owner = server.ask("POST", "/v1/owners/register", {"name": "crash-test"})
        assert status == 201, owner
        server.command("owner", "set-limit", "crash-test", "10000000")
        told_at = f"http://127.0.0.1:{target.port}/?due=0"
        server.command("owner", "callback", "set", "crash-test", "--success", told_at)
        loads = [Load(server, owner["key"], target, random.Random(f"{seed} {n}")) for n in range(threads)]
        for load in loads:
            load.start()
        for number in range(rounds):
            time.sleep(chance.uniform(0.3, 1.5))
            if number % 3 == 2:  # one of its own processes, which the supervisor starts again
                server.kill(chance.choice(server.processes()[1:]))
            else:
                server.kill()
                findings.restarts.append(server.start())
        for load in loads:
            load.end()
            findings.accepted += load.accepted
        while not server.answers():
            time.sleep(0.01)
        findings.unfinished = wait_until_final(server, owner["key"], "crash-test", 60)
        server.stop()
        findings.missing = [task for task in findings.accepted if task not in target.seen]
        findings.told_wrongly = told_wrongly(server, findings.accepted, target)
        findings.early = len(target.early)
        findings.repeated = sum(len(times) - 1 for times in target.seen.values())
    return findings


def told_wrongly(server: Server, accepted: list[str], target: Target) -> list[str]:
    """Those of the tasks of whose end there is not one callback, delivered. Reads the database of a stopped server."""
    with contextlib.closing(sqlite3.connect(server.folder / "data" / "tasks.sqlite")) as database:
        rows = database.execute("SELECT c.source, t.id FROM callback AS c JOIN task AS t ON t.seq = c.task").fetchall()
    made: dict[str, list[str]] = {}
    for source, callback in rows:
        made.setdefault(source, []).append(callback)
    return [task for task in accepted if len(made.get(task, ())) != 1 or made[task][0] not in target.seen]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(arguments.rounds, Path(folder), arguments.seed).summary(), indent=2))


if __name__ == "__main__":
    main()
