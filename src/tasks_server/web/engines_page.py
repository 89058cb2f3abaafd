"""Engines: who works, on what, and is it behind?"""

from typing import Final

import msgspec

from tasks_server.api.exchange import Answer
from tasks_server.api.routes import Route
from tasks_server.domain.engines import Engine
from tasks_server.service.monitoring import MonitorService
from tasks_server.web.frame import Frame
from tasks_server.web.visit import Visit

PATH: Final = "/ui/engines"
_GAUGE_PIXELS: Final = 110


class EngineRow(msgspec.Struct):
    """An engine; the operator sees where it runs."""

    number: int
    where: str
    version: str
    started_at: int
    seen_at: int
    standing: str
    in_flight: int
    slots: int
    gauge: int
    takes: list[str]
    trouble: str
    full: dict[str, int]


class EnginesPage:
    """The page."""

    def __init__(self, monitor: MonitorService) -> None:
        self._monitor = monitor

    def table(self, frame: Frame) -> list[Route]:
        return [frame.shows(PATH, self.page, "Show engines")]

    async def page(self, visit: Visit) -> Answer:
        operator = visit.who.owner is None
        engines = await self._monitor.engines()
        nodes = await self._monitor.nodes() if operator else []
        health = await self._monitor.health()
        return visit.page(
            "engines.html",
            "Engines",
            engines=[_row(engine, visit.now, operator=operator) for engine in engines],
            others=[node for node in nodes if node.number not in {engine.number for engine in engines}],
            checks={name: _told(check) for name, check in health.checks.items()},
        )


def _told(check: dict[str, object]) -> str:
    rest = (f"{name.replace('_', ' ')} {value}" for name, value in check.items() if name != "status")
    return ", ".join([str(check["status"]), *rest])


def _row(engine: Engine, now: int, *, operator: bool) -> EngineRow:
    facts = engine.facts
    standing = "active" if engine.alive(now) else "ended" if facts.stopped_at or not engine.lives else "unreadable"
    takes = (["HTTP"] if facts.repertoire.http else []) + [known.name for known in facts.repertoire.handlers]
    troubles = [f"{facts.trouble.doing}: {facts.trouble.code}"] if facts.trouble is not None else []
    if facts.handlers_trouble is not None:
        troubles.append(f"handlers cannot be imported: {facts.handlers_trouble.error}")
    share = min(1.0, facts.in_flight / facts.slots) if facts.slots else 0.0
    return EngineRow(
        engine.number,
        f"{facts.host}, process {facts.pid}" if operator else f"engine {engine.number}",
        facts.version,
        engine.started_at,
        engine.seen_at,
        "silent" if standing == "unreadable" else standing,
        facts.in_flight,
        facts.slots,
        round(share * _GAUGE_PIXELS),
        takes,
        "; ".join(troubles) if operator else "",
        facts.targets_full if operator else {},
    )
