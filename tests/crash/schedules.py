"""Schedules that fire every second under three servers whose processes are killed: the fire times against the tasks.

    python -m tests.crash.schedules --schedules 200 --seconds 60 --kill-every 10 --store postgres

Prints its seed and what it found, as JSON.
"""

import argparse
import contextlib
import json
import random
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import psycopg

from tests.postgres.server import Postgres

from .rounds import wait_until_final
from .server import Server
from .target import Target


@dataclass
class Findings:
    """What became of the fire times: from the first of each schedule to the last, one a second."""

    seed: int
    kills: int
    fire_times: int
    tasks: int
    gaps: int
    twice: int
    told_as_missed: int
    unfinished: int
    unseen: int
    early: int

    def summary(self) -> dict[str, Any]:
        return dict(vars(self))


Runs = list[tuple[str, int, str]]
"""Schedule, fire time and task."""
_RUNS = "SELECT r.schedule, r.fire_at, {id} FROM schedule_run AS r JOIN {table} AS t ON t.{seq} = r.task"


class Base:
    """The database that the servers share, in the folder of theirs, and what they are told of it."""

    settings: dict[str, str]
    runs: Callable[[], Runs]

    def __init__(self, settings: dict[str, str], runs: Callable[[], Runs]) -> None:
        self.settings = settings
        self.runs = runs


@contextlib.contextmanager
def base(store: str, folder: Path) -> Iterator[Base]:
    """A database of its own, of this kind."""
    if store == "sqlite":

        def stored() -> Runs:
            file = str(folder / "data" / "tasks.sqlite")
            with contextlib.closing(apsw.Connection(file, flags=apsw.SQLITE_OPEN_READONLY)) as database:
                return list(database.execute(_RUNS.format(id="t.id", table="task", seq="seq")))

        yield Base({}, stored)
        return
    # The database serves another user, who may not look into the folders of ours.
    with tempfile.TemporaryDirectory(prefix="tasks-server-schedules-") as name:
        home = Path(name)
        home.chmod(0o755)
        server = Postgres(home)
        server.start()

        def kept() -> Runs:
            with psycopg.connect(server.url) as session:
                return list(session.execute(_RUNS.format(id="t.id", table="request", seq="task").encode()))

        try:
            yield Base({"DATABASE_URL": server.url, "CIPHER_KEY": secrets.token_hex(32)}, kept)
        finally:
            server.stop()


def run(
    folder: Path,
    schedules: int,
    seconds: float,
    kill_every: float,
    seed: int,
    store: str = "sqlite",
    kills_min: int = 0,
) -> Findings:
    """Lets schedules fire for so long, and until so many processes have died."""
    with base(store, folder) as shared:
        return _run(folder, shared, schedules, seconds, kill_every, seed, kills_min)


def _run(
    folder: Path, shared: Base, schedules: int, seconds: float, kill_every: float, seed: int, kills_min: int
) -> Findings:
    chance, kills = random.Random(seed), 0
    whole = Server(folder, **shared.settings)
    engines = [Server(folder, role="engine", **shared.settings) for _ in range(2)]
    if shared.settings:
        whole.command("db", "upgrade")
    with Target() as target:
        for server in (whole, *engines):
            server.launch()
        for server in (whole, *engines):
            server.wait_until_ready()
        _, owner = whole.ask("POST", "/v1/owners/register", {"name": "crash-test"})
        whole.command("owner", "set-limit", "crash-test", "10000000")
        ids = [_make(whole, owner["key"], number, target.port) for number in range(schedules)]
        until = time.monotonic() + seconds
        while time.monotonic() < until or kills < kills_min:
            time.sleep(chance.uniform(0.8, 1.2) * kill_every)
            kills += _kill(whole, engines, chance)
        while not whole.answers():
            time.sleep(0.01)
        shown = [whole.ask("POST", f"/v1/schedules/{one}/pause", key=owner["key"])[1] for one in ids]
        unfinished = wait_until_final(whole, owner["key"], "crash-test", 60)
        for server in (whole, *engines):
            server.stop()
        findings = _compare(shared.runs(), seed, shown, target)
    findings.kills, findings.unfinished = kills, unfinished
    return findings


def _make(server: Server, key: str, number: int, port: int) -> str:
    call = {"url": f"http://127.0.0.1:{port}/?due=0", "method": "GET"}
    body = {"name": f"number-{number}", "every": "1s", "missed": "skip", "task": {"httpRequest": call}}
    status, made = server.ask("POST", "/v1/schedules", body, key)
    assert status == 201, made
    return str(made["id"])


def _kill(whole: Server, engines: list[Server], chance: random.Random) -> int:
    """A process of the whole server, which its supervisor starts again; or an engine's server, all of it."""
    victim = chance.choice([whole, *engines])
    if victim is whole:
        children = whole.processes()[1:]
        if not children:
            return 0
        whole.kill(chance.choice(children))
    else:
        victim.kill()
        victim.start()
    return 1


def _compare(runs: Runs, seed: int, shown: list[dict[str, Any]], target: Target) -> Findings:
    made = Counter((schedule, at) for schedule, at, _ in runs)
    wanted = {
        (one["id"], at) for one in shown for at in range(one["createdAt"] + 1_000, (one["lastFireAt"] or 0) + 1, 1_000)
    }
    return Findings(
        seed=seed,
        kills=0,
        fire_times=len(wanted),
        tasks=len(runs),
        gaps=len(wanted - made.keys()),
        twice=sum(count - 1 for count in made.values()),
        told_as_missed=sum(one["lastMissed"] is not None for one in shown),
        unfinished=0,
        unseen=sum(task not in target.seen for _, _, task in runs),
        early=sum(min(target.seen[task], default=at) < at for _, at, task in runs if task in target.seen),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kill-every", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), asked.schedules, asked.seconds, asked.kill_every, asked.seed, asked.store)
        print(json.dumps(found.summary(), indent=2))


if __name__ == "__main__":
    main()
