"""Runs the benchmarks one after the other and shows how they stand to the budgets. `--quick`: short runs, which show
that everything works; figures worth keeping come from full runs on a quiet machine.
"""

import subprocess
import sys
from typing import Final

from bench import databases, report, table
from bench.processes import needed
from bench.report import ROOT, say

_POSTGRES: Final = ("--store", "postgres")
BENCHMARKS: Final[dict[str, list[str]]] = {
    "whole_path": ["whole_path"],
    "whole_path_batch": ["whole_path", "--batch", "100"],
    "whole_path_flood": ["whole_path", "--batch", "100", "--in-queue", "0"],
    "drain": ["drain"],
    "drain_engine": ["drain", "--by", "engine"],
    "drain_tls": ["drain", "--to", "tls"],
    "drain_hosts": ["drain", "--to", "hosts"],
    "handlers": ["handlers"],
    "register": ["register"],
    "lateness": ["lateness"],
    "claim_backlog": ["claim_backlog"],
    "claim_settle": ["claim_settle"],
    "idle": ["idle"],
    "startup": ["startup"],
    "fairness": ["fairness"],
    "lane_rate": ["lane_rate"],
    "connections": ["connections"],
    "guard": ["guard"],
    "whole_path_postgres": ["whole_path", *_POSTGRES],
    "whole_path_batch_postgres": ["whole_path", "--batch", "100", *_POSTGRES],
    "drain_postgres": ["drain", *_POSTGRES],
    "drain_engine_postgres": ["drain", "--by", "engine", *_POSTGRES],
    "register_postgres": ["register", *_POSTGRES],
    "lateness_postgres": ["lateness", *_POSTGRES],
    "idle_postgres": ["idle", "--seconds", "10", "--tasks", "200000", *_POSTGRES],
    "claim_settle_postgres": ["claim_settle", *_POSTGRES],
    "old_snapshot_postgres": ["old_snapshot"],
    "scaling_postgres": ["scaling"],
    "guard_postgres": ["guard", *_POSTGRES],
    "lane_rate_postgres": ["lane_rate", *_POSTGRES],
    "claim_backlog_postgres": ["claim_backlog", *_POSTGRES],
}
_SECONDS_MAX: Final = 900
_STOP_SECONDS_MAX: Final = 60


def _on(name: str) -> str:
    """On which kind of database a benchmark runs."""
    return "postgres" if name.endswith("_postgres") else "sqlite"


def _run(name: str, quick: bool) -> bool:
    """Whether the benchmark ended by itself and without faults. Its result is in its file."""
    module, *options = BENCHMARKS[name]
    command = [sys.executable, "-m", f"bench.{module}", *options, *(["--quick"] if quick else [])]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        return process.wait(_SECONDS_MAX) == 0
    except subprocess.TimeoutExpired:
        say(f"{name} takes too long and is stopped")
        return False
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS_MAX)


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), help="which benchmarks (default: all on SQLite)")
    parser.add_argument("--list", action="store_true", help="name them and end")
    databases.choose(parser)
    arguments = parser.parse_args()
    names = arguments.only or [name for name in BENCHMARKS if _on(name) == arguments.store]
    if arguments.list:
        print("\n".join(f"python -m bench.{' '.join(words)}" for words in BENCHMARKS.values()))
        return 0
    needed("wrk", "wrk")
    needed("nginx", "nginx-light")
    failed = []
    for name in names:
        say(name)
        if not _run(name, arguments.quick):
            failed.append(name)
    print(table.budgets(quick=arguments.quick, only=names))
    if failed:
        print(f"These failed, or found that a promise was broken: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
