"""What processes cost, as the kernel counts it: CPU time and memory (Pss: shared pages are shared out)."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Final

import msgspec

_TICK_SECONDS: Final = 1 / os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")


class Usage(msgspec.Struct):
    """CPU seconds since the process began, and its share of memory now."""

    cpu_seconds: float = 0.0
    pss_bytes: int = 0
    rss_bytes: int = 0
    processes: int = 0

    def add(self, other: "Usage") -> None:
        self.cpu_seconds += other.cpu_seconds
        self.pss_bytes += other.pss_bytes
        self.rss_bytes += other.rss_bytes
        self.processes += other.processes


def tree(pid: int) -> list[int]:
    """The process and all below it that live."""
    parents: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid] if (_PROC / str(pid)).exists() else []
    for each in found:
        found += parents.get(each, [])
    return found


def usage(pid: int) -> Usage:
    """What one process cost so far; nothing when it is gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        memory = (_PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return Usage()
    sizes = {name: int(size) * 1_024 for name, size in re.findall(r"^(Pss|Rss): +(\d+) kB", memory, re.M)}
    cpu_seconds = (int(fields[11]) + int(fields[12])) * _TICK_SECONDS
    return Usage(cpu_seconds, sizes.get("Pss", 0), sizes.get("Rss", 0), 1)


def reaped_cpu_seconds(pid: int) -> float:
    """What children of a process took that have ended; nothing when it is gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[13]) + int(fields[14])) * _TICK_SECONDS


def command(pid: int) -> list[str]:
    """The command line of a process; empty when it is gone."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode().split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def needed(program: str, package: str) -> str:
    """The path of a program of the system. Ends this process with advice when it is not there."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        sys.exit(f"bench: {program} is missing; install it, on Debian: apt-get install {package}")
    return found
