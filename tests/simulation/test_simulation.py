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


@pytest.mark.parametrize("which", ["7", "2024", _FRESH])
async def test_the_promises_hold_whatever_happens(which: str, tmp_path: Path) -> None:
    seed = _seed(which)
    print(f"seed {seed}")
    async with Simulation.over(ADAPTERS["sqlite-memory"], tmp_path, seed) as simulation:
        for _ in range(250):
            await simulation.step()
        await simulation.calm_down()
        await simulation.check()
