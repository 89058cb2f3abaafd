"""Predicts throughput, lateness and cost for more machines than there are here, from what was measured on this one:
CPU time a task of API, engine and database, alone and in batches; connections, log and disk space a task.

It is arithmetic, not a copy of the world. Whatever is assumed and not measured stands in `Assumed`.
"""

import argparse
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from bench import report

NODES: Final = (1, 10, 100)
SCHEDULED: Final = 1_000_000_000
_MONTH_SECONDS: Final = 730 * 3_600
_US: Final = 1e-6
_P99: Final = math.log(100)
"""Waits of a queue are spread exponentially: one in a hundred is longer than so many times the mean."""


class Part(msgspec.Struct, frozen=True):
    """CPU of one kind of process, in microseconds: for each task, and for each batch that tasks share."""

    task_us: float
    batch_us: float

    def us(self, batch: float) -> float:
        """For one task in batches of this size."""
        return self.task_us + self.batch_us / batch

    @classmethod
    def fit(cls, many: float, alone: float) -> "Part":
        """From a run in which batches were large and one in which each task came alone."""
        return cls(many, max(0.0, alone - many))


class Measured(msgspec.Struct, frozen=True):
    """What the benchmarks say."""

    api: Part
    engine: Part
    database: Part
    round_ms: float
    """How long a registration took at little load: tasks that come meanwhile share the next batch."""
    late_p50_ms: float
    late_p99_ms: float
    connections_per_process: float
    wal_bytes_per_task: float
    scheduled_bytes: float
    """On disk, for a task that waits."""
    finished_bytes: float
    """What a task adds until it is pruned: dead versions, its attempt."""
    short: bool = False
    """Whether some of it comes from short runs."""


class Assumed(msgspec.Struct, frozen=True):
    """What was not measured here. Prices are of the order of those of the large clouds."""

    node_cores: int = 4
    database_cores: int = 32
    load_max: float = 0.7
    network_ms: float = 0.5
    connections_max: int = 1_000
    notify_us: float = 50.0
    notify_listener_us: float = 5.0
    notify_per_second_max: int = 10_000
    look_us: float = 200.0
    look_engine_us: float = 200.0
    wal_bytes_per_second_max: float = 500e6
    vacuum_bytes_per_second: float = 350e6
    dead_rows_per_task: int = 3
    dead_share_max: float = 0.2
    disk_bytes_max: float = 16e12
    retention_days: int = 3
    node_dollars_hour: float = 0.17
    database_dollars_hour: float = 3.0
    dollars_gb_month: float = 0.12


MEANINGS: Final[dict[str, str]] = {
    "node_cores": "cores of a node, which runs as many API and engine processes",
    "database_cores": "cores of one PostgreSQL",
    "load_max": "how busy anything may be in the long run",
    "network_ms": "there and back between node and database",
    "connections_max": "connections that one PostgreSQL takes",
    "notify_us": "CPU of the database to send a notification (µs)",
    "notify_listener_us": "and to hand it to one listener (µs)",
    "notify_per_second_max": "notifications a second: their commits follow one another",
    "look_us": "CPU of the database for a look that finds nothing (µs); every engine that hears a notification looks",
    "look_engine_us": "CPU of the engine for it (µs)",
    "wal_bytes_per_second_max": "bytes a second that the disk of the log takes",
    "vacuum_bytes_per_second": "bytes a second that vacuum reads, by our cost limit of 2 000",
    "dead_rows_per_task": "row versions that a task leaves: promoted, claimed, settled",
    "dead_share_max": "dead rows, as a share of all, before indexes suffer",
    "disk_bytes_max": "disk of one PostgreSQL",
    "retention_days": "days that finished tasks are kept",
    "node_dollars_hour": "price of a node, dollars an hour",
    "database_dollars_hour": "price of the database, a standby included",
    "dollars_gb_month": "price of a GB of disk for a month",
}


class World(msgspec.Struct, frozen=True):
    """Some nodes on `clusters` PostgreSQL servers, owners spread evenly over these."""

    measured: Measured
    assumed: Assumed
    nodes: int
    clusters: int = 1
    scheduled: int = SCHEDULED

    def batch(self, rate: float) -> float:
        """How many tasks share a batch of one process when so many come a second to all nodes: those that come while
        the batch before is on its way.
        """
        process_rate = rate / self.nodes / self.assumed.node_cores
        return max(1.0, process_rate * (self.measured.round_ms + self.assumed.network_ms) / 1e3)

    def loads(self, rate: float) -> dict[str, float]:
        """How near each limit is at a rate of tasks a second: 1 is the limit. Of the limits of a server, each of the
        clusters has its part.
        """
        assumed, measured, batch = self.assumed, self.measured, self.batch(rate)
        own, part = self.nodes / self.clusters, rate / self.clusters
        looks = self._looks_in_vain(part, batch)
        node_us = measured.api.us(batch) + measured.engine.us(batch)
        node_cores = (rate * node_us + self.clusters * looks * assumed.look_engine_us) * _US
        notified = part / batch
        database_us = measured.database.us(batch)
        listeners = own * assumed.node_cores
        telling_us = assumed.notify_us + assumed.notify_listener_us * listeners
        cores = (part * database_us + notified * telling_us + looks * assumed.look_us) * _US
        pass_seconds_a_row = measured.scheduled_bytes / assumed.vacuum_bytes_per_second
        return {
            "CPU of the nodes": node_cores / (self.nodes * assumed.node_cores * assumed.load_max),
            "CPU of the database": cores / (assumed.database_cores * assumed.load_max),
            "NOTIFY": notified / assumed.notify_per_second_max,
            "log of the database": part * measured.wal_bytes_per_task / assumed.wal_bytes_per_second_max,
            "vacuum": part * assumed.dead_rows_per_task * pass_seconds_a_row / assumed.dead_share_max,
            "disk": self.disk_bytes(rate) / self.clusters / assumed.disk_bytes_max,
            "connections": self.connections / assumed.connections_max,
        }

    def _looks_in_vain(self, part: float, batch: float) -> float:
        """Looks a second at one database by engines that were told of work which another one takes. An engine looks
        no more often than it gets answers.
        """
        engines = self.nodes / self.clusters * self.assumed.node_cores
        each = min(part / batch, 1e3 / (self.measured.round_ms + self.assumed.network_ms))
        return max(0.0, engines * each - part / batch)

    @property
    def connections(self) -> float:
        """To each server: two processes a core, API and engine."""
        return self.nodes / self.clusters * 2 * self.assumed.node_cores * self.measured.connections_per_process

    def disk_bytes(self, rate: float) -> float:
        """What is scheduled, and what is finished and not pruned yet."""
        finished = rate * self.assumed.retention_days * 86_400
        both = self.measured.scheduled_bytes + self.measured.finished_bytes
        return self.scheduled * self.measured.scheduled_bytes + finished * both

    def limit(self, rate: float) -> str:
        """What is nearest to its limit."""
        loads = self.loads(rate)
        return max(loads, key=lambda name: loads[name])

    def rate_max(self) -> float:
        """The most tasks a second for which nothing is over its limit; 0: not even one is possible."""
        low, high = 0.0, 1e8
        if max(self.loads(1.0).values()) > 1:
            return 0.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if max(self.loads(middle).values()) <= 1 else (low, middle)
        return low

    def late_ms(self, rate: float) -> tuple[float, float]:
        """Half of the tasks are no later than the first, 99 of 100 no later than the second: what was measured at
        little load, the network, and the waits for a core of node and database (M/M/c, by Sakasegawa).
        """
        assumed, measured, batch, loads = self.assumed, self.measured, self.batch(rate), self.loads(rate)
        node_us = batch * (measured.api.us(batch) + measured.engine.us(batch)) / 2
        wait_ms = _wait(node_us / 1e3, assumed.node_cores, loads["CPU of the nodes"] * assumed.load_max)
        database_us = batch * measured.database.us(batch) / 3  # insert, claim, settle
        wait_ms += 3 * _wait(database_us / 1e3, assumed.database_cores, loads["CPU of the database"] * assumed.load_max)
        hops = 3 * assumed.network_ms + (batch - 1) * measured.engine.task_us / 1e3
        return measured.late_p50_ms + hops + wait_ms, measured.late_p99_ms + hops + _P99 * wait_ms

    def dollars_month(self, rate: float) -> float:
        """Nodes, databases with a standby, and their disks, twice."""
        machines = self.nodes * self.assumed.node_dollars_hour + self.clusters * self.assumed.database_dollars_hour
        return machines * 730 + 2 * self.disk_bytes(rate) / 1e9 * self.assumed.dollars_gb_month


def _wait(service_ms: float, servers: int, load: float) -> float:
    """The mean wait for one of some servers that are so busy."""
    if load >= 1:
        return math.inf
    return service_ms * load ** (math.sqrt(2 * (servers + 1)) - 1) / (servers * (1 - load))


# What was measured


def measured() -> Measured:
    """From the results of full runs; where there is none, of short ones. Ends this process when there is neither."""
    shorts: list[str] = []

    def of(name: str) -> dict[str, Any]:
        result = report.latest(f"{name}_postgres")
        if result is None:
            sys.exit(f"bench: there is no result of {name} on PostgreSQL: run `python -m bench --store postgres`")
        shorts.extend([name] if result["quick"] else [])
        found: dict[str, Any] = result["results"]
        return found

    many, late, scaling = of("whole_path_batch"), of("lateness"), of("scaling")
    filled = of("claim_backlog")["database_mb"]
    most, rows = ("waiting_10m", 9_990_000) if "waiting_10m" in filled else ("waiting_1m", 990_000)
    scheduled_bytes = (filled[most] - filled["waiting_10k"]) * 1e6 / rows
    engines = sorted((int(name.split("_")[1]), name) for name in scaling if name.startswith("engines_"))
    (fewest, first), (more, last) = engines[0], engines[-1]
    connections = (scaling[last]["connections"] - scaling[first]["connections"]) / max(1, more - fewest)
    together, alone = many["cpu_us_per_task"], late["cpu_us_per_task"]
    return Measured(
        api=Part.fit(together["api"], alone["api"]),
        engine=Part.fit(together["engine"], alone["engine"]),
        database=Part.fit(_database(together), _database(alone)),
        round_ms=late["register_latency_ms"]["p50"],
        late_p50_ms=late["late_ms"]["p50"],
        late_p99_ms=late["late_ms"]["p99"],
        connections_per_process=connections or scaling[first]["connections"] / 2,
        wal_bytes_per_task=scaling[first]["wal_bytes_per_task"] + scheduled_bytes,  # its insert logs what it stores
        scheduled_bytes=scheduled_bytes,
        finished_bytes=scaling[first]["bytes_per_task"],
        short=bool(shorts),
    )


def _database(us: Mapping[str, float]) -> float:
    return us["postgres"] + us["postgres_background"]


# What is told


def assumptions(world: World) -> str:
    """Every number that goes in: measured, then assumed."""
    lines = ["| | value | what |", "|---|---|---|"]
    for name, part in (
        ("API", world.measured.api),
        ("engine", world.measured.engine),
        ("database", world.measured.database),
    ):
        lines.append(
            f"| measured | {part.task_us:.0f} µs + {part.batch_us:.0f} µs | CPU of the {name}: a task, and a batch "
            "that several share |"
        )
    found = world.measured
    for value, what in (
        (f"{found.round_ms:.1f} ms", "a registration at little load; what comes meanwhile shares the next batch"),
        (f"{found.late_p50_ms:.1f} and {found.late_p99_ms:.1f} ms", "lateness p50 and p99 at 300 tasks/s"),
        (f"{found.connections_per_process:.0f}", "connections of a process"),
        (f"{found.wal_bytes_per_task:.0f} bytes", "log of the database a task"),
        (f"{found.scheduled_bytes:.0f} bytes", "disk for a scheduled task, indexes included"),
        (f"{found.finished_bytes:.0f} bytes", "more disk for a finished one, until it is pruned"),
    ):
        lines.append(f"| measured | {value} | {what} |")
    for name in msgspec.structs.asdict(world.assumed):
        value = f"{getattr(world.assumed, name):,.15g}".replace(",", " ")
        lines.append(f"| assumed | {value} | {MEANINGS[name]} |")
    source = "Some of it was measured in short runs on a busy machine.\n\n" if found.short else ""
    return source + "\n".join(lines)


def predictions(worlds: list[World]) -> str:
    """A row for each world: the most it does and why not more; lateness and cost at half of that."""
    lines = [
        "| nodes | databases | tasks/s at most | limit | tasks in a batch | connections a database "
        "| late p50 / p99 at half load | dollars a month | dollars a million tasks |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for world in worlds:
        most = world.rate_max()
        start = f"| {world.nodes} | {world.clusters} |"
        if not most:
            lines.append(f"{start} 0 | {world.limit(1.0)} | | {world.connections:.0f} | | | |")
            continue
        half = most / 2
        p50, p99 = world.late_ms(half)
        dollars = world.dollars_month(half)
        lines.append(
            f"{start} {_round(most)} | {world.limit(most)} | {world.batch(most):.1f} | {world.connections:.0f} "
            f"| {p50:.1f} / {p99:.1f} ms | {_round(dollars)} | {dollars / (half * _MONTH_SECONDS / 1e6):.3f} |"
        )
    return "\n".join(lines)


def breaking(world: World) -> str:
    """For each limit of one database, the rate at which it alone would be reached."""
    lines = ["| limit of one database | reached at tasks/s |", "|---|---|"]
    for name in world.loads(1.0):
        if name not in ("CPU of the nodes", "disk", "connections"):
            lines.append(f"| {name} | {_round(_reached(lambda rate, name=name: world.loads(rate)[name]))} |")
    least = world.scheduled * world.measured.scheduled_bytes
    lines.append(f"| disk | {least / 1e12:.2f} TB are taken by {world.scheduled:,} scheduled tasks |".replace(",", " "))
    most_nodes = world.nodes * world.assumed.connections_max / world.connections
    lines.append(f"| connections | any, at more than {most_nodes:.0f} nodes |")
    return "\n".join(lines)


def _reached(load: Callable[[float], float]) -> float:
    low, high = 0.0, 1e9
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if load(middle) <= 1 else (low, middle)
    return low


def _round(value: float) -> str:
    """Two digits are more than this is worth."""
    if value <= 0:
        return "0"
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):,.0f}".replace(",", " ")


def worlds(found: Measured, assumed: Assumed) -> list[World]:
    """Those of the document: one database as long as it bears the nodes, and enough of them."""
    chosen = []
    for nodes in NODES:
        chosen.append(World(found, assumed, nodes))
        alone = chosen[-1]
        for clusters in (4, 16):
            if alone.limit(alone.rate_max() or 1.0) != "CPU of the nodes" and clusters < nodes:
                chosen.append(World(found, assumed, nodes, clusters))
    return chosen


def assumptions_now() -> str:
    return assumptions(World(measured(), Assumed(), 1))


def predictions_now() -> str:
    return predictions(worlds(measured(), Assumed()))


def breaking_now() -> str:
    return breaking(World(measured(), Assumed(), 10))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, value in msgspec.structs.asdict(Assumed()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=MEANINGS[name])
    parser.add_argument("--nodes", type=int, nargs="+", help="how many (default: 1 10 100)")
    parser.add_argument("--clusters", type=int, default=1, help="databases; owners are spread over them")
    parser.add_argument("--scheduled", type=int, default=SCHEDULED, help="tasks that wait")
    arguments = vars(parser.parse_args())
    nodes, clusters, scheduled = (arguments.pop(name) for name in ("nodes", "clusters", "scheduled"))
    found, assumed = measured(), Assumed(**arguments)
    chosen = (
        [World(found, assumed, number, clusters, scheduled) for number in nodes] if nodes else worlds(found, assumed)
    )
    print("\n\n".join((assumptions(chosen[0]), predictions(chosen), breaking(World(found, assumed, 10)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
