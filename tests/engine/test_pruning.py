"""The record of what was done by hand is forgotten once it is older than it is kept."""

import pytest

from tasks_server.domain import limits
from tasks_server.domain.audit import Act, Actor
from tasks_server.engine.maintenance import PruneActs
from tasks_server.store.auditing import ActQuery
from tasks_server.telemetry import Telemetry

from .shop import Shop


async def test_old_entries_are_forgotten_and_a_doubtful_clock_forgets_none(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(subject: str) -> Act:
        return Act(shop.clock.now(), Actor("owner", "api"), "task", "pause", shop.owner.id, subject)

    await shop.store.record(act("old"))
    shop.clock.advance(limits.DAY_MS)
    await shop.store.record(act("new"))
    keeper, doubtful = shop.engine.keeper, False
    monkeypatch.setattr(keeper, "is_doubtful", lambda: doubtful)
    duty = PruneActs(shop.store, shop.clock, Telemetry(shop.clock, write=lambda _: None), limits.DAY_MS - 1, keeper)

    async def left() -> list[str | None]:
        return [entry.act.subject for entry in (await shop.store.acts(ActQuery(None))).entries]

    assert await duty.tick() is False
    assert await left() == ["new"]
    shop.clock.advance(2 * limits.DAY_MS)
    doubtful = True
    await duty.tick()
    assert await left() == ["new"]
