"""What the store is asked about engines, beside what `ports` has; see there for what holds of all of it."""

from collections.abc import Collection, Iterable
from typing import Any, Final, Protocol

import msgspec

from tasks_server.domain import limits
from tasks_server.domain.engines import Engine, EngineReport, decode_facts, encode_facts

_KEPT_MS: Final = limits.DAY_MS


class Engines(Protocol):
    """Asked by engines, who tell of themselves, and by whoever shows or explains."""

    async def report(self, report: EngineReport) -> None:
        """Keeps what the engine of this process tells, in place of what it told before; forgets what others told that
        were not heard of for a day. It may be lost by a power cut.
        """
        ...

    async def engines(self) -> list[Engine]:
        """All that told of themselves, dead ones among them, the last heard of first. What is damaged is left out."""
        ...


def report_row(number: int, report: EngineReport) -> dict[str, Any]:
    """A report as adapters store it, under the number of its process."""
    seen_at = report.seen_at
    facts = encode_facts(report.facts)
    return {"number": number, "started_at": report.started_at, "seen_at": seen_at, "facts": facts}


def forgotten_before(report: EngineReport) -> dict[str, int]:
    """Until when others must have been heard of, to be remembered."""
    return {"before": report.seen_at - _KEPT_MS}


def engines_of(rows: Iterable[tuple[Any, ...]], living: Collection[int]) -> list[Engine]:
    """The engines of stored rows; `living` are the numbers of the processes that are there."""
    found = []
    for number, started_at, seen_at, text in rows:
        try:
            facts = decode_facts(text)
        except msgspec.MsgspecError:
            continue
        found.append(Engine(number, started_at, seen_at, number in living, facts))
    return sorted(found, key=lambda engine: (-engine.seen_at, engine.number))
