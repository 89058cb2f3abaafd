"""The results in `bench/results` as tables of Markdown. With `--write` they go into `docs/performance.md`, between
`<!-- measured: NAME -->` and `<!-- end -->`; without, they are printed.
"""

import argparse
import json
import re
import sys
from collections.abc import Collection
from typing import Any, Final

from bench import report
from bench.budgets import BUDGETS, Budget
from bench.report import ROOT

_DOCUMENT: Final = ROOT / "docs" / "performance.md"
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


_TABLES: Final = {"budgets": budgets, "conditions": conditions, "costs": costs}


def write() -> None:
    """Puts the tables of the full runs into the document."""
    text = _DOCUMENT.read_text()
    for name, make in _TABLES.items():
        pattern = re.compile(rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)", re.S)
        places = pattern.findall(text)
        if len(places) != 1:
            sys.exit(f"bench: {_DOCUMENT} has {len(places)} places for {name}")
        begin, end = pattern.split(text)[0], pattern.split(text)[-1]
        text = "".join((begin, places[0][0], make(), "\n", places[0][1], end))
    _DOCUMENT.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="show the results of quick runs")
    parser.add_argument("--write", action="store_true", help="write those of full runs into docs/performance.md")
    arguments = parser.parse_args()
    if arguments.write:
        write()
    else:
        print("\n\n".join(make(quick=arguments.quick) for make in _TABLES.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
