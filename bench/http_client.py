"""The HTTP client alone, against nginx on loopback: calls a second and CPU time a call, with 64 and 200 in flight.

Twice: alone, and beside a thread that keeps the interpreter busy in short bursts, as an engine does. CPU time is that
of the client's own thread, libcurl and the kernel's part included.
"""

import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench import report
from bench.report import Report, say, spread
from bench.target import Nginx
from tasks_server.clock import SystemClock
from tasks_server.domain.request import HttpRequest, TaskConfig
from tasks_server.engine.calls import Call, Done
from tasks_server.engine.http.client import HttpClient

_CONCURRENCIES: Final = (64, 200)
_BURST_SECONDS: Final = 100e-6
_PAUSE_SECONDS: Final = 20e-6
_SWITCH_SECONDS: Final = 0.0005  # as the engine's process has it
_WARM_UP_CALLS: Final = 1_000
_FAULTS_SHOWN: Final = 5
_ID: Final = "01KAJ9V4QZ3M8T5W7XYB2C6D"


def calls_to(url: str, count: int) -> list[Call]:
    """Calls as the engine makes them for a small JSON task."""
    request = HttpRequest(
        url=url, method="POST", data={"order": 12_345}, headers={"Authorization": "Bearer 0123456789"}
    )
    config = TaskConfig()
    ours = [("X-Tasks-Queue-Id", _ID), ("X-Tasks-Attempt", "1"), ("Idempotency-Key", _ID)]
    return [Call(token, request, config, ours, 0, 30_000) for token in range(count)]


def run(url: str, concurrency: int, count: int) -> dict[str, Any]:
    """Makes `count` calls, `concurrency` at once, after a warm-up."""
    calls = iter(calls_to(url, _WARM_UP_CALLS + count))
    client = HttpClient(
        clock=SystemClock(), user_agent="Tasks-Server/bench", response_max_bytes=32_768, connections_max=concurrency
    )
    ended, batches = 0, 0
    faults: Counter[str] = Counter()
    marks: dict[str, tuple[float, float]] = {}
    finished = threading.Event()

    def on_done(batch: list[Done]) -> None:
        nonlocal ended, batches
        before = ended
        ended += len(batch)
        for done in batch:
            if done.outcome.status_code != 200:
                faults[f"{done.outcome.kind} {done.outcome.error}, {done.ended_at - done.started_at} ms"] += 1
        if before < _WARM_UP_CALLS <= ended:
            marks["begin"] = (time.perf_counter(), time.thread_time())
            batches = 0
        batches += 1
        if ended == _WARM_UP_CALLS + count:
            marks["end"] = (time.perf_counter(), time.thread_time())
            finished.set()
        client.send([call for _, call in zip(batch, calls, strict=False)])

    client.send([next(calls) for _ in range(concurrency)])
    client.start(on_done)
    finished.wait()
    client.stop()
    (wall_begin, cpu_begin), (wall_end, cpu_end) = marks["begin"], marks["end"]
    return {
        "calls_per_second": round(count / (wall_end - wall_begin)),
        "cpu_us_per_call": round((cpu_end - cpu_begin) / count * 1e6, 1),
        "calls_per_batch": round(count / batches, 1),
        "faults": faults,
    }


@contextmanager
def busy_interpreter() -> Iterator[None]:
    """A thread that computes in bursts and sleeps for a moment between them."""
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            until = time.perf_counter() + _BURST_SECONDS
            while time.perf_counter() < until:
                pass
            time.sleep(_PAUSE_SECONDS)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def measure(url: str, count: int, rounds: int) -> tuple[dict[str, Any], list[str]]:
    """The median run of each kind; the results and the faults."""
    results: dict[str, Any] = {}
    faults = []
    for concurrency in _CONCURRENCIES:
        say(f"{concurrency} in flight")
        runs = [run(url, concurrency, count) for _ in range(rounds)]
        with busy_interpreter():
            beside = [run(url, concurrency, count) for _ in range(rounds)]
        for name, kind in (("alone", runs), ("beside_busy_thread", beside)):
            results[f"{name}_{concurrency}"] = {
                "calls_per_second": spread([one["calls_per_second"] for one in kind]),
                "cpu_us_per_call": spread([one["cpu_us_per_call"] for one in kind]),
                "calls_per_batch": spread([one["calls_per_batch"] for one in kind]),
            }
            for index, one in enumerate(kind):
                for what, times in one["faults"].most_common(_FAULTS_SHOWN):
                    faults.append(f"{name}, {concurrency} in flight, run {index}: {times} times {what}")
    return results, faults


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--calls", type=int, help="calls a run (default: 50000; quick: 5000)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind")
    arguments = parser.parse_args()
    count = arguments.calls or (5_000 if arguments.quick else 50_000)
    sys.setswitchinterval(_SWITCH_SECONDS)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Nginx(Path(folder) / "nginx") as nginx:
        results, faults = measure(f"{nginx.url}/ready", count, arguments.rounds)
    return report.finish(
        Report("http_client", arguments.quick, {"calls": count, "rounds": arguments.rounds}, results, faults)
    )


if __name__ == "__main__":
    sys.exit(main())
