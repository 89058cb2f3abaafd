"""The figures that the product is held to, and where each is found in the results of which benchmark."""

from typing import Any, Final, Literal

import msgspec


class Budget(msgspec.Struct, frozen=True):
    """`result` is a dotted path into a benchmark's results. A `limit` of None: shown, not judged."""

    what: str
    benchmark: str
    result: str
    sense: Literal["at least", "at most", "under"]
    limit: float | None
    unit: str
    per: float = 1
    """The result is divided by this to come in `unit`."""

    @property
    def text(self) -> str:
        if self.limit is None:
            return "shown only"
        if self.sense == "at most" and self.limit == 0:
            return "none"
        return f"{self.sense} {self.limit:,g} {self.unit}".replace(",", " ")

    def measured(self, results: dict[str, Any]) -> float | None:
        """The figure, in `unit`; None when this run did not bring it."""
        value: Any = results
        for key in self.result.split("."):
            if not isinstance(value, dict) or key not in value:
                return None
            value = value[key]
        return None if value is None else round(value / self.per, 3)

    def met(self, measured: float | None) -> bool | None:
        if measured is None or self.limit is None:
            return None
        if self.sense == "at least":
            return measured >= self.limit
        return measured <= self.limit if self.sense == "at most" else measured < self.limit

    def judged(self, results: dict[str, Any]) -> dict[str, Any]:
        """How a result stands to the budget."""
        measured = self.measured(results)
        return {
            "what": self.what,
            "budget": self.text,
            "measured": measured,
            "unit": self.unit,
            "met": self.met(measured),
        }


_PER_SECOND: Final = "tasks/s"
_IN_AND_OUT: Final = "in_and_out_per_second"
_SNAPSHOT: Final = "old_snapshot_postgres"
_SCALING: Final = "scaling_postgres"
_TIMES_10K: Final = "times 10 thousand"
_WITHOUT: Final = "times one without"
_IDLE_GROWTH: Final = "more memory with one million scheduled tasks"

BUDGETS: Final = [
    Budget("whole path, one request a task", "whole_path", _IN_AND_OUT, "at least", 6_000, _PER_SECOND),
    Budget("whole path, batches of 100", "whole_path_batch", _IN_AND_OUT, "at least", 9_000, _PER_SECOND),
    Budget("delivered during a flood of batches", "whole_path_flood", _IN_AND_OUT, "at least", None, _PER_SECOND),
    Budget("drain of tasks due at one instant", "drain", "final_per_second", "at least", 12_000, _PER_SECOND),
    Budget("drain, engine started late", "drain_engine", "final_per_second", "at least", 12_000, _PER_SECOND),
    Budget("drain to a target with TLS", "drain_tls", "final_per_second", "at least", None, _PER_SECOND),
    Budget("drain to 1 000 hosts", "drain_hosts", "final_per_second", "at least", None, _PER_SECOND),
    Budget("no-op handlers, one request a task", "handlers", f"singly.{_IN_AND_OUT}", "at least", 5_000, _PER_SECOND),
    Budget("no-op handlers, batches of 100", "handlers", f"batches.{_IN_AND_OUT}", "at least", 5_000, _PER_SECOND),
    Budget("no-op handlers, backlog", "handlers", "backlog.final_per_second", "at least", 5_000, _PER_SECOND),
    Budget("lateness p50 at 500 tasks/s", "lateness", "late_ms.p50", "at most", 2, "ms"),
    Budget("lateness p99 at 500 tasks/s", "lateness", "late_ms.p99", "at most", 8, "ms"),
    Budget("early deliveries", "lateness", "early", "at most", 0, "tasks"),
    Budget("register p99, 64 connections", "register", "single.latency_ms.p99", "under", 25, "ms"),
    Budget("register, 64 connections", "register", "single.per_second", "at least", None, _PER_SECOND),
    Budget("batch register", "register", "batch.per_second", "at least", 25_000, _PER_SECOND),
    Budget("claim, 1 million waiting", "claim_backlog", "ratios.waiting_1m", "under", 1.2, "times 10 thousand"),
    Budget("claim, 10 million waiting", "claim_backlog", "ratios.waiting_10m", "under", 1.2, "times 10 thousand"),
    Budget("claim, full target", "claim_backlog", "ratios.full_target", "under", 1.2, "times 10 thousand"),
    Budget("claim, full owner", "claim_backlog", "ratios.full_owner", "under", 1.2, "times 10 thousand"),
    Budget("claim, paused lane", "claim_backlog", "ratios.paused_lane", "under", 1.2, "times 10 thousand"),
    Budget("claim from a lane with limits", "claim_backlog", "ratios.limited_lane", "under", None, _WITHOUT),
    Budget("claim, 10 000 owners with due tasks", "claim_backlog", "ratios.owners_10k", "under", None, "times one"),
    Budget("idle", "idle", "fresh.cpu_percent", "under", 1, "% of a core"),
    Budget("idle memory, all processes", "idle", "fresh.pss_bytes", "under", 150, "MB", 1e6),
    Budget("idle, 1 million scheduled", "idle", "scheduled.cpu_percent", "under", 1, "% of a core"),
    Budget("memory after accepting 1 million", "idle", "accepted.pss_bytes", "under", 150, "MB", 1e6),
    # Ten bytes a task: far below what keeping anything of a task in memory would take, above the noise of Pss.
    Budget(_IDLE_GROWTH, "idle", "growth_bytes", "under", 10, "MB", 1e6),
    Budget("start-up, empty database", "startup", "empty.max", "under", 2, "s"),
    Budget("start-up, 1 GB database", "startup", "large.max", "under", 2, "s"),
    Budget("start-up, 1 GB, nothing cached", "startup", "large_cold.max", "under", 2, "s"),
    Budget("restart after kill -9 under load", "startup", "killed.max", "under", 2, "s"),
    Budget("task of another owner, 100 000 due", "fairness", "owners.other_target.late_ms.max", "under", 100, "ms"),
    Budget("the same, to the same target", "fairness", "owners.same_target.late_ms.max", "under", 100, "ms"),
    Budget("task beside 200 to a slow target", "fairness", "slow_target.during.late_ms.max", "under", None, "ms"),
    Budget("the same before they are due", "fairness", "slow_target.before.late_ms.max", "under", None, "ms"),
    Budget("a lane of 50 a second, 4 engines", "lane_rate", "off_percent", "at most", 2, "% off"),
    Budget("PostgreSQL: whole path, one a request", "whole_path_postgres", _IN_AND_OUT, "at least", 3_000, _PER_SECOND),
    Budget("whole path, batches of 100", "whole_path_batch_postgres", _IN_AND_OUT, "at least", 5_000, _PER_SECOND),
    Budget("drain of tasks due at one instant", "drain_postgres", "final_per_second", "at least", 6_000, _PER_SECOND),
    Budget("drain, engine started late", "drain_engine_postgres", "final_per_second", "at least", 6_000, _PER_SECOND),
    Budget("lateness p50 at 300 tasks/s", "lateness_postgres", "late_ms.p50", "at most", None, "ms"),
    Budget("lateness p99 at 300 tasks/s", "lateness_postgres", "late_ms.p99", "under", 25, "ms"),
    Budget("early deliveries", "lateness_postgres", "early", "at most", 0, "tasks"),
    Budget("a lane of 50 a second, 4 engines", "lane_rate_postgres", "off_percent", "at most", 2, "% off"),
    Budget("register p99, 64 connections", "register_postgres", "single.latency_ms.p99", "under", None, "ms"),
    Budget("register, 64 connections", "register_postgres", "single.per_second", "at least", None, _PER_SECOND),
    Budget("batch register", "register_postgres", "batch.per_second", "at least", None, _PER_SECOND),
    Budget("claim, 1 million waiting", "claim_backlog_postgres", "ratios.waiting_1m", "under", 1.2, _TIMES_10K),
    Budget("claim, 10 million waiting", "claim_backlog_postgres", "ratios.waiting_10m", "under", 1.2, _TIMES_10K),
    Budget("claim, full target", "claim_backlog_postgres", "ratios.full_target", "under", 1.2, _TIMES_10K),
    Budget("claim, full owner", "claim_backlog_postgres", "ratios.full_owner", "under", 1.2, _TIMES_10K),
    Budget("claim, paused lane", "claim_backlog_postgres", "ratios.paused_lane", "under", 1.2, _TIMES_10K),
    Budget("claim from a lane with limits", "claim_backlog_postgres", "ratios.limited_lane", "under", None, _WITHOUT),
    Budget("claim, 10 000 owners", "claim_backlog_postgres", "ratios.owners_10k", "under", None, "times one"),
    Budget(
        "claim and settle, nothing to do", "claim_settle_postgres", "per_second_max", "at least", 10_000, _PER_SECOND
    ),
    Budget("the same on SQLite", "claim_settle", "per_second_max", "at least", None, _PER_SECOND),
    Budget("the same, 1 million updates not vacuumed", _SNAPSHOT, "ratios.unvacuumed", "at least", 0.8, "of fresh"),
    Budget("the same, under an old snapshot", _SNAPSHOT, "ratios.snapshot", "at least", 0.8, "of fresh"),
    Budget("drain by 1 to 8 engines, the best", _SCALING, "final_per_second_max", "at least", 6_000, _PER_SECOND),
    Budget("drain by 8 engines", _SCALING, "engines_8.final_per_second", "at least", None, _PER_SECOND),
    Budget("idle", "idle_postgres", "fresh.cpu_percent", "under", 1, "% of a core"),
    Budget("idle, scheduled tasks there", "idle_postgres", "scheduled.cpu_percent", "under", 1, "% of a core"),
]
