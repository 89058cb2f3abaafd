"""What a benchmark prints: its parameters, the machine, the results, the budgets, and the faults it found."""

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
import pycurl

from bench.budgets import BUDGETS

RESULTS: Final = Path(__file__).parent / "results"
ROOT: Final = Path(__file__).parents[1]
_FSYNC_SAMPLES: Final = 200
_LOAD_BEFORE: Final = os.getloadavg()
"""Taken as the benchmark starts: how quiet the machine was."""


class Report(msgspec.Struct):
    """One run of one benchmark. `faults`: what may never happen, in words; none is the normal case. `database`: what
    it ran on, its version and settings.
    """

    benchmark: str
    quick: bool
    parameters: dict[str, Any]
    results: dict[str, Any]
    faults: list[str] = []
    database: dict[str, Any] = {}


def parser(description: str | None) -> argparse.ArgumentParser:
    """The arguments that every benchmark has. From now on a SIGTERM unwinds, so that what was started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a short run: shows that it works, not what it is worth")
    return made


def finish(report: Report) -> int:
    """Prints the report, keeps it in `bench/results`. The exit status: 1 when there were faults."""
    whole = {
        "benchmark": report.benchmark,
        "quick": report.quick,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "database": report.database,
        "parameters": report.parameters,
        "results": report.results,
        "budgets": [budget.judged(report.results) for budget in BUDGETS if budget.benchmark == report.benchmark],
        "faults": report.faults,
    }
    text = json.dumps(whole, indent=2)
    RESULTS.mkdir(exist_ok=True)
    path(report.benchmark, quick=report.quick).write_text(text + "\n")
    print(text)
    for fault in report.faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    return 1 if report.faults else 0


def path(benchmark: str, *, quick: bool) -> Path:
    """Where the last result of a benchmark is kept."""
    return RESULTS / f"{benchmark}{'.quick' if quick else ''}.json"


def latest(benchmark: str) -> dict[str, Any] | None:
    """The last result of a full run; without one, that of a short run, which says so; None: there is neither."""
    for quick in (False, True):
        if path(benchmark, quick=quick).exists():
            found: dict[str, Any] = json.loads(path(benchmark, quick=quick).read_text())
            return found
    return None


def say(text: str) -> None:
    """Progress, for the one who waits."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000,
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "disk_write_fsync_us": _fsync_us(),
        "load_average_before": [round(load, 2) for load in _LOAD_BEFORE],
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "libcurl": pycurl.version_info()[1],
        "tasks_server": importlib.metadata.version("tasks-server"),
        "commit": _commit(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _fsync_us() -> float:
    """The median time to append one page and have it on disk, where the databases of the benchmarks lie."""
    with tempfile.TemporaryFile() as file:
        samples = []
        for _ in range(_FSYNC_SAMPLES):
            began = time.perf_counter()
            file.write(b"\0" * 4_096)
            file.flush()
            os.fdatasync(file.fileno())
            samples.append(time.perf_counter() - began)
    return round(statistics.median(samples) * 1e6, 1)


def _commit() -> str | None:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def spread(samples: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Percentiles of some samples, in their own unit.

    >>> spread([3.0, 1.0, 2.0])
    {'n': 3, 'min': 1.0, 'p50': 2.0, 'p95': 3.0, 'p99': 3.0, 'max': 3.0}
    """
    if not samples:
        return {"n": 0}
    ordered = sorted(samples)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], digits)

    return {
        "n": len(ordered),
        "min": round(ordered[0], digits),
        "p50": at(0.5),
        "p95": at(0.95),
        "p99": at(0.99),
        "max": round(ordered[-1], digits),
    }
