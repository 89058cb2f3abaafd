"""Many engines on one PostgreSQL, killed and started again under load; and the database restarted under them.

    python -m tests.crash.cluster --engines 4 --tasks 100000 --kill-seconds 60 --restarts 3

Each part judges what was accepted against what the target saw. Prints its seed and what it found, as JSON.
"""

import argparse
import contextlib
import http.client
import json
import random
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.postgres.server import Postgres

from .server import Server
from .target import Target

_NAME = "cluster-test"


@dataclass
class Part:
    """What one part brought. `unexplained`: deliveries beyond the first that no lost attempt accounts for."""

    accepted: int = 0
    missing: int = 0
    unfinished: int = 0
    early: int = 0
    repeated: int = 0
    unexplained: int = 0
    lost_attempts: int = 0
    kills: int = 0
    seconds: float = 0.0
    longest_refusal_seconds: float = 0.0


@dataclass
class Load:
    """Registers tasks in batches until it is told to end or has registered as many as it shall."""

    server: Server
    key: str
    target: Target
    count: int
    batch: int
    pause_seconds: float = 0.0
    wait_ms: int = 0
    accepted: list[str] = field(default_factory=list)
    longest_refusal_seconds: float = 0.0

    def run(self, ending: threading.Event) -> None:
        taken_at = time.monotonic()
        while len(self.accepted) < self.count and not ending.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
            with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
                while len(self.accepted) < self.count and not ending.is_set():
                    if self._register(connection):
                        taken_at = time.monotonic()
                        ending.wait(self.pause_seconds)
                    else:
                        waited = time.monotonic() - taken_at
                        self.longest_refusal_seconds = max(self.longest_refusal_seconds, waited)
                        ending.wait(0.05)

    def _register(self, connection: http.client.HTTPConnection) -> bool:
        due = time.time_ns() // 1_000_000
        request = {"url": f"http://127.0.0.1:{self.target.port}/?due={due}&wait={self.wait_ms}", "method": "GET"}
        task = {"httpRequest": request, "config": {"executeAt": due, "executeImmediately": True}}
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/queues/batch", json.dumps({"tasks": [task] * self.batch}), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 201:
            self.accepted += [task["id"] for task in json.loads(text)["tasks"]]
        elif answer.status != 503:
            raise AssertionError(f"{answer.status}: {text.decode()}")
        return answer.status == 201


class Cluster:
    """One API and some engines, each started as on a machine of its own, and the target of their calls."""

    def __init__(self, folder: Path, database: Postgres, target: Target, engines: int) -> None:
        settings = {"DATABASE_URL": database.url, "CIPHER_KEY": secrets.token_hex(32)}
        self.database = database
        self.target = target
        self.api = self._server(folder / "api", "api", settings)
        self.engines = [self._server(folder / f"engine-{number}", "engine", settings) for number in range(engines)]
        self.key = ""

    @staticmethod
    def _server(folder: Path, role: str, settings: dict[str, str]) -> Server:
        folder.mkdir()
        return Server(folder, role, **settings)

    def __enter__(self) -> "Cluster":
        self.api.command("db", "upgrade")
        self.key = json.loads(self.api.command("owner", "create", _NAME, "--limit", "10000000", "--json"))["key"]
        for server in (self.api, *self.engines):
            server.launch()
        for server in (self.api, *self.engines):
            server.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (*self.engines, self.api):
            server.kill()

    def part(
        self, tasks: int, disturb: Callable[[threading.Event], int], *, pause_seconds: float = 0.0, wait_ms: int = 0
    ) -> Part:
        """Registers tasks while `disturb` does its worst (and says how often); ends once all is quiet. `tasks` is
        how many at most; it ends with what `disturb` does, if that comes first. The target takes `wait_ms` to answer,
        so that there is always something in flight.
        """
        began, ending, found = time.monotonic(), threading.Event(), Part()
        loads = [Load(self.api, self.key, self.target, tasks // 2, 100, pause_seconds, wait_ms) for _ in range(2)]
        threads = [threading.Thread(target=load.run, args=(ending,), daemon=True) for load in loads]
        self.target.seen.clear()
        self.target.early.clear()
        for thread in threads:
            thread.start()
        found.kills = disturb(ending)
        for thread in threads:
            thread.join(120)
        found.unfinished = self._wait_until_final()
        accepted = [task for load in loads for task in load.accepted]
        seen = self.target.seen
        found.accepted = len(accepted)
        found.missing = sum(task not in seen for task in accepted)
        found.early = len(self.target.early)
        repeats = {task: len(times) - 1 for task, times in seen.items() if len(times) > 1}
        lost = self._lost_attempts()
        found.lost_attempts = sum(lost.get(task, 0) for task in accepted)
        found.repeated = sum(repeats.values())
        found.unexplained = sum(max(0, more - lost.get(task, 0)) for task, more in repeats.items())
        found.longest_refusal_seconds = round(max(load.longest_refusal_seconds for load in loads), 2)
        found.seconds = round(time.monotonic() - began, 1)
        return found

    def _wait_until_final(self) -> int:
        """How many tasks are still in queue after a while in which there should be none."""
        left, until = -1, time.monotonic() + 120
        while left and time.monotonic() < until:
            time.sleep(0.05)
            with contextlib.suppress(OSError):
                status, owner = self.api.ask("GET", f"/v1/owners/{_NAME}", key=self.key)
                left = owner["tasksInQueue"] if status == 200 else -1
        return left

    def _lost_attempts(self) -> dict[str, int]:
        """How many attempts of each task were given up for lost."""
        with psycopg.connect(self.database.url) as connection:
            rows = connection.execute(
                "SELECT r.id, count(*) FROM attempt AS a JOIN request AS r ON r.task = a.task"
                " WHERE a.outcome = 'lost' GROUP BY r.id"
            )
            return dict(rows.fetchall())

    # What may happen

    def nothing(self, _: threading.Event) -> int:
        """All goes well until all is registered."""
        return 0

    def sudden_deaths(self, seconds: float, every_seconds: float, chance: random.Random) -> Callable[..., int]:
        """Kills a random engine again and again, the whole of it or only the process at work, and starts it again."""

        def disturb(ending: threading.Event) -> int:
            until, kills = time.monotonic() + seconds, 0
            while time.monotonic() < until:
                time.sleep(every_seconds)
                engine = chance.choice(self.engines)
                if chance.random() < 0.5 and len(engine.processes()) > 1:
                    engine.kill(*engine.processes()[1:])
                else:
                    engine.kill()
                    engine.launch()
                kills += 1
            ending.set()
            return kills

        return disturb

    def restarts(self, count: int, every_seconds: float, down_seconds: float) -> Callable[..., int]:
        """Stops the database, at once or in order, and starts it again."""

        def disturb(ending: threading.Event) -> int:
            for number in range(count):
                time.sleep(every_seconds)
                self.database.stop(signal.SIGQUIT if number % 2 else signal.SIGINT)
                time.sleep(down_seconds)
                self.database.start()
            time.sleep(every_seconds)
            ending.set()
            return count

        return disturb

    def rolling_restart(self, ending: threading.Event) -> int:
        """Each engine is asked to stop, and started again, one after the other."""
        for engine in self.engines:
            time.sleep(0.5)
            assert engine.stop() == 0
            engine.launch()
            engine.wait_until_ready()
        ending.set()
        return len(self.engines)


@contextlib.contextmanager
def cluster(folder: Path, engines: int) -> Iterator[Cluster]:
    """A cluster on a database of its own."""
    # The database serves another user, who may not look into the folders of ours.
    with tempfile.TemporaryDirectory(prefix="tasks-server-cluster-") as name:
        home = Path(name)
        home.chmod(0o755)
        database = Postgres(home)
        database.start()
        try:
            with Target() as target, Cluster(folder, database, target, engines) as made:
                yield made
        finally:
            database.stop()


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All the parts, one after the other."""
    chance = random.Random(arguments.seed)
    found: dict[str, Any] = {"seed": arguments.seed, "engines": arguments.engines}
    with cluster(folder, arguments.engines) as made:
        found["nothing fails"] = made.part(arguments.tasks, made.nothing)
        found["rolling restart"] = made.part(10**7, made.rolling_restart, pause_seconds=0.05)
        deaths = made.sudden_deaths(arguments.kill_seconds, 1.0, chance)
        found["sudden deaths"] = made.part(10**7, deaths, pause_seconds=0.1, wait_ms=200)
        found["database restarts"] = made.part(10**7, made.restarts(arguments.restarts, 3.0, 1.0), pause_seconds=0.1)
    return {name: asdict(part) if isinstance(part, Part) else part for name, part in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engines", type=int, default=4)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--kill-seconds", type=float, default=60)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(run(Path(name), parser.parse_args()), indent=2))


if __name__ == "__main__":
    main()
