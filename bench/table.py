"""The results in `bench/results` as tables of Markdown. With `--write` they go into `docs/performance.md` and
`docs/scaling.md`, between `<!-- measured: NAME -->` and `<!-- end -->`; without, those of the first are printed.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Collection
from typing import Any, Final

from bench import report, simulate_scale
from bench.budgets import BUDGETS, Budget
from bench.report import ROOT

_MET: Final = {True: "yes", False: "**no**", None: ""}


def results(quick: bool) -> dict[str, dict[str, Any]]:
    """The last result of each benchmark that has one."""
    names = dict.fromkeys(budget.benchmark for budget in BUDGETS)
    paths = {name: report.path(name, quick=quick) for name in names}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def budgets(*, quick: bool = False, only: Collection[str] | None = None) -> str:
    """Each budget, what was measured, whether that is enough."""
    found = results(quick)
    lines = ["| what | benchmark | budget | measured | met |", "|---|---|---|---|---|"]
    for budget in BUDGETS:
        if only is None or budget.benchmark in only:
            measured = _measured(budget, found)
            shown = "not measured" if measured is None else f"{_number(measured)} {budget.unit}"
            met = _MET[budget.met(measured)]
            lines.append(f"| {budget.what} | `{budget.benchmark}` | {budget.text} | {shown} | {met} |")
    return "\n".join(lines)


def _measured(budget: Budget, found: dict[str, dict[str, Any]]) -> float | None:
    result = found.get(budget.benchmark)
    return budget.measured(result["results"]) if result else None


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1_000 else f"{value:.3g}"


def conditions(*, quick: bool = False) -> str:
    """When and on what each benchmark ran."""
    lines = ["| benchmark | at | commit | load before | faults |", "|---|---|---|---|---|"]
    machines: dict[str, None] = {}
    servers: dict[str, None] = {}
    for name, result in results(quick).items():
        machine = result["machine"]
        faults = "; ".join(result["faults"]) or "none"
        load = machine["load_average_before"][0]
        lines.append(f"| `{name}` | {result['at']} | {machine['commit']} | {load} | {faults} |")
        machines[
            f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_mb'] / 1e3:.0f} GB, "
            f"{machine['system']}, Linux {machine['kernel']}, Python {machine['python']}, SQLite {machine['sqlite']}, "
            f"libcurl {machine['libcurl']}, Tasks Server {machine['tasks_server']}"
        ] = None
        servers |= dict.fromkeys(_server(result.get("database", {})))
    if not machines:
        return "Nothing was measured yet."
    return "\n".join([*(f"- {each}" for each in (*machines, *servers)), "", *lines])


def _server(database: dict[str, Any]) -> list[str]:
    """A server of PostgreSQL in words; nothing for another database."""
    if "postgresql" not in database:
        return []
    settings = ", ".join(f"`{name}={value}`" for name, value in database["settings"].items())
    where = "on the same machine and cores" if database["own"] else "another server"
    return [f"PostgreSQL {database['postgresql']}, {where}: {settings}"]


def costs(*, quick: bool = False) -> str:
    """CPU time a task, by process, where a benchmark measured it."""
    lines = ["| benchmark | CPU microseconds a task |", "|---|---|"]
    for name, result in results(quick).items():
        parts = {name: result["results"]} | {
            f"{name}, {part}": value for part, value in result["results"].items() if isinstance(value, dict)
        }
        for label, value in parts.items():
            if "cpu_us_per_task" in value:
                spent = ", ".join(f"{kind} {us:g}" for kind, us in value["cpu_us_per_task"].items() if us)
                lines.append(f"| {label} | {spent} |")
    return "\n".join(lines) if len(lines) > 2 else "Nothing was measured yet."


def engines() -> str:
    """One PostgreSQL, some engines: the throughput, and who had the cores."""
    result = report.latest("scaling_postgres")
    if result is None:
        return "Nothing was measured yet."
    lines = [
        "| engines | tasks/s | cores busy: database | engines | target | idle | CPU of the database a task "
        "| writing transactions a task | connections |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, run in _runs(result):
        busy, spent = run["cores_busy"], run["cpu_us_per_task"]
        lines.append(
            f"| {name} | {_number(run['final_per_second'])} | {busy['postgres'] + busy['postgres_background']:.2f} "
            f"| {busy['engine']:.2f} | {busy['nginx']:.2f} | {run['cores_idle']:.2f} "
            f"| {spent['postgres'] + spent['postgres_background']:.0f} µs | {run['writes_per_task']:.3f} "
            f"| {run['connections']} |"
        )
    return _short(result) + "\n".join(lines)


def claimers() -> str:
    """Claim and settle without calls: several processes on one database."""
    found = {kind: report.latest(name) for kind, name in _CLAIMERS.items()}
    lines = [
        "| database | processes | tasks/s | median claim | CPU of the processes a task | CPU of the database |",
        "|---|---|---|---|---|---|",
    ]
    for kind, result in found.items():
        for name, run in _runs(result) if result else ():
            spent = run["cpu_us_per_task"]
            server = f"{spent['postgres'] + spent['postgres_background']:.0f} µs" if "postgres" in spent else "its own"
            lines.append(
                f"| {kind} | {name} | {_number(run['per_second'])} | {run['claim_ms']['p50']:.1f} ms "
                f"| {spent['claimers']:.0f} µs | {server} |"
            )
    notes = [_short(result) for result in found.values() if result]
    return max(notes, default="") + "\n".join(lines)


_CLAIMERS: Final = {"PostgreSQL": "claim_settle_postgres", "SQLite": "claim_settle"}


def _runs(result: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The runs of a result by how many processes there were."""
    return [(name.split("_")[1], run) for name, run in result["results"].items() if isinstance(run, dict)]


def _short(result: dict[str, Any]) -> str:
    return "A short run on a busy machine: it shows that it works.\n\n" if result["quick"] else ""


_TABLES: Final = {"budgets": budgets, "conditions": conditions, "costs": costs}
_DOCUMENTS: Final[dict[str, dict[str, Callable[[], str]]]] = {
    "performance.md": dict(_TABLES),
    "scaling.md": {
        "engines": engines,
        "claimers": claimers,
        "assumptions": simulate_scale.assumptions_now,
        "predictions": simulate_scale.predictions_now,
        "breaking": simulate_scale.breaking_now,
    },
}


def write(name: str) -> None:
    """Puts the tables of the last runs into a document."""
    document = ROOT / "docs" / name
    text = document.read_text()
    for table, make in _DOCUMENTS[name].items():
        pattern = re.compile(rf"(<!-- measured: {table} -->\n).*?(<!-- end -->)", re.S)
        places = pattern.findall(text)
        if len(places) != 1:
            sys.exit(f"bench: {document} has {len(places)} places for {table}")
        begin, end = pattern.split(text)[0], pattern.split(text)[-1]
        text = "".join((begin, places[0][0], make(), "\n", places[0][1], end))
    document.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="show the results of quick runs")
    parser.add_argument("--write", action="store_true", help="write those of full runs into the documents")
    arguments = parser.parse_args()
    if arguments.write:
        for name in _DOCUMENTS:
            write(name)
    else:
        print("\n\n".join(make(quick=arguments.quick) for make in _TABLES.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
