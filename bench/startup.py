"""From the start of the process to the first accepted task (201): with an empty database, with one of 1 GB, with that
one and none of it in the page cache, and after kill -9 of every process under load.

The client knocks from the first moment on. Owners and keys exist already, as on any restart.
"""

import http.client
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

from bench import load, report
from bench.report import Report, say, spread
from bench.rows import Filler
from bench.server import OWNER, Account, Server

_KNOCK_SECONDS: Final = 0.002
_ACCEPTED_SECONDS_MAX: Final = 30.0
_LATER: Final = {"executionDelay": 24 * 3_600_000}
_CHUNK: Final = 100_000
_LOAD_SECONDS: Final = 6.0
_KILL_AFTER_SECONDS: Final = 3.0


def first_accepted(server: Server, account: Account) -> float:
    """Starts the server; seconds until a task is accepted. Leaves it running."""
    body = json.dumps(load.task("http://127.0.0.1:9/hook", _LATER))
    headers = {"Authorization": f"Bearer {account.key}", "Content-Type": "application/json"}
    began = time.monotonic()
    server.launch()
    while (spent := time.monotonic() - began) < _ACCEPTED_SECONDS_MAX:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_ACCEPTED_SECONDS_MAX)
        try:
            connection.request("POST", load.REGISTER, body, headers)
            if connection.getresponse().status == 201:
                return time.monotonic() - began
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(_KNOCK_SECONDS)
    sys.exit(f"bench: no task was accepted within {spent:.0f} s:\n{server.said()}")


def starts(server: Server, account: Account, samples: int, *, cold: bool = False) -> dict[str, float]:
    """Seconds of some starts, each stopped in order before the next. `cold`: the database is not in the page cache."""
    seconds = []
    for _ in range(samples):
        if cold:
            _forget(server.file)
        seconds.append(first_accepted(server, account))
        server.stop()
    return spread(seconds)


def _forget(path: Path) -> None:
    """Asks the kernel to drop the file from its cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def killed(server: Server, account: Account, folder: Path, samples: int) -> tuple[dict[str, float], list[str]]:
    """Seconds of starts after every process was killed at once while tasks came in as fast as they can."""
    seconds, faults = [], []
    for index in range(samples):
        first_accepted(server, account)
        task = load.task("http://127.0.0.1:9/hook", _LATER)
        pressing = threading.Thread(
            target=_press_and_be_refused, args=(folder / f"wrk-{index}", server, account, task), daemon=True
        )
        pressing.start()
        time.sleep(_KILL_AFTER_SECONDS)
        server.kill()
        pressing.join()
        seconds.append(first_accepted(server, account))
        server.stop()
    with server.stored as rows:
        ((sound,),) = rows.rows("PRAGMA quick_check(1)")
    if sound != "ok":
        faults.append(f"the database is damaged after kill -9: {sound}")
    return spread(seconds), faults


def _press_and_be_refused(folder: Path, server: Server, account: Account, task: dict[str, Any]) -> None:
    """A load that ends in refused connections, as its server is killed under it."""
    load.press(folder, server, account, load.REGISTER, task, 64, _LOAD_SECONDS)


def fill(server: Server, size_bytes: int) -> int:
    """Brings the database to `size_bytes` with finished and scheduled tasks; how many there are."""
    now = int(time.time() * 1e3)
    count = 0
    with Filler(server.file) as filler:
        while server.file.stat().st_size < size_bytes:
            filler.add(_CHUNK, "completed", owner=OWNER, now=now)
            filler.add(_CHUNK, "scheduled", owner=OWNER, now=now)
            count += 2 * _CHUNK
    return count


def measure(folder: Path, samples: int, size_bytes: int) -> tuple[dict[str, Any], list[str]]:
    """All the kinds of starts in `folder`; the results and the faults."""
    server = Server(folder / "data")
    try:
        return _measure(server, folder, samples, size_bytes)
    finally:
        server.stop()


def _measure(server: Server, folder: Path, samples: int, size_bytes: int) -> tuple[dict[str, Any], list[str]]:
    account = server.account()
    say("empty database")
    results: dict[str, Any] = {"empty": starts(server, account, samples)}
    say(f"filling to {size_bytes / 1e9:g} GB")
    count = fill(server, size_bytes)
    results |= {"large_tasks": count, "large_mb": round(server.file.stat().st_size / 1e6)}
    say("large database")
    results["large"] = starts(server, account, samples)
    results["large_cold"] = starts(server, account, samples, cold=True)
    say("kill -9 under load")
    results["killed"], faults = killed(server, account, folder, samples)
    return results, faults


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--samples", type=int, help="starts of each kind (default: 7; quick: 2)")
    parser.add_argument("--megabytes", type=int, help="size of the large database (default: 1000; quick: 200)")
    arguments = parser.parse_args()
    samples = arguments.samples or (2 if arguments.quick else 7)
    megabytes = arguments.megabytes or (200 if arguments.quick else 1_000)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        results, faults = measure(Path(folder), samples, megabytes * 1_000_000)
    parameters = {"samples": samples, "megabytes": megabytes}
    return report.finish(Report("startup", arguments.quick, parameters, results, faults))


if __name__ == "__main__":
    sys.exit(main())
