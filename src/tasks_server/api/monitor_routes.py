"""`/monitor`: whether the server is well, and how many tasks are in which state."""

from typing import Final

from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.named_wire import HealthView, StatsView, health_view, stats_view
from tasks_server.api.routes import Route, Success
from tasks_server.api.wire import encode
from tasks_server.service.monitoring import MonitorService

HEALTH: Final = "/monitor/health"
_RETRY: Final = ((b"retry-after", b"5"),)


class MonitorRoutes:
    """The handlers, and the table of them."""

    def __init__(self, monitor: MonitorService) -> None:
        self._monitor = monitor

    def table(self) -> list[Route]:
        well = Success(
            200, HealthView, "All is well, or `degraded`: it serves, and somebody should look at the `reasons`"
        )
        unwell = Success(503, HealthView, "The store does not answer, or no engine runs")
        counts = Success(200, StatsView, "Counts by status, from counters")
        return [
            Route("GET", HEALTH, self.health, "Tell whether the server is well", "none", [well, unwell]),
            Route(
                "GET",
                "/monitor/stats",
                self.stats,
                "Count tasks by status",
                "owner",
                [counts],
                description="Of the owner; with the admin key alone, of all.",
                guests=True,
            ),
        ]

    async def health(self, _: Exchange) -> Answer:
        health = await self._monitor.health()
        body = encode(health_view(health))
        return Answer(200, body) if health.status != "unavailable" else Answer(503, body, headers=_RETRY)

    async def stats(self, exchange: Exchange) -> Answer:
        return Answer(200, encode(stats_view(await self._monitor.counts(exchange.caller.scope))))
