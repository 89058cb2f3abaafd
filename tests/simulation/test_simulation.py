"""Seeded worlds. A failure prints its seed: `TASKS_SERVER_SIMULATION_SEED=… pytest tests/simulation` plays it again."""

import os
import random
from pathlib import Path

import pytest

from ..store.adapters import ADAPTERS
from .world import Simulation

_FRESH = "fresh"


def _seed(which: str) -> int:
    if which != _FRESH:
        return int(which)
    return int(os.environ.get("TASKS_SERVER_SIMULATION_SEED") or random.randrange(10**9))


@pytest.mark.parametrize(
    ("which", "adapter", "steps"),
    [
        ("7", "sqlite-memory", 250),
        ("2024", "sqlite-memory", 250),
        (_FRESH, "sqlite-memory", 250),
        ("7", "postgres", 80),
        (_FRESH, "postgres", 80),
    ],
)
async def test_the_promises_hold_whatever_happens(which: str, adapter: str, steps: int, tmp_path: Path) -> None:
    seed = _seed(which)
    print(f"seed {seed}")
    async with Simulation.over(ADAPTERS[adapter], tmp_path, seed) as simulation:
        for _ in range(steps):
            await simulation.step()
        await simulation.calm_down()
        await simulation.check()
