"""Schedules that fire every second under three servers whose processes are killed: the fire times against the tasks.

    python -m tests.crash.schedules --schedules 200 --seconds 60 --kill-every 10

Prints its seed and what it found, as JSON.
"""

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

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


def run(folder: Path, schedules: int, seconds: float, kill_every: float, seed: int) -> Findings:
    """Lets schedules fire for so long while processes die."""
    chance, kills = random.Random(seed), 0
    whole = Server(folder)
    engines = [Server(folder, role="engine") for _ in range(2)]
    with Target() as target:
        whole.start()
        for engine in engines:
            engine.start()
        _, owner = whole.ask("POST", "/v1/owners/register", {"name": "crash-test"})
        whole.command("owner", "set-limit", "crash-test", "10000000")
        ids = [_make(whole, owner["key"], number, target.port) for number in range(schedules)]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(chance.uniform(0.8, 1.2) * kill_every)
            kills += _kill(whole, engines, chance)
        while not whole.answers():
            time.sleep(0.01)
        shown = [whole.ask("POST", f"/v1/schedules/{one}/pause", key=owner["key"])[1] for one in ids]
        unfinished = wait_until_final(whole, owner["key"], "crash-test", 60)
        for server in (whole, *engines):
            server.stop()
        findings = _compare(folder, seed, shown, target)
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


def _compare(folder: Path, seed: int, shown: list[dict[str, Any]], target: Target) -> Findings:
    database = apsw.Connection(str(folder / "data" / "tasks.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    rows = database.execute(
        "SELECT r.schedule, r.fire_at, t.id FROM schedule_run AS r JOIN task AS t ON t.seq = r.task"
    )
    runs = list(rows)
    database.close()
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
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), asked.schedules, asked.seconds, asked.kill_every, asked.seed)
        print(json.dumps(found.summary(), indent=2))


if __name__ == "__main__":
    main()
