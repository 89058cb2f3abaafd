"""Seeded worlds; see `seeds` for which, and how to play one again."""

from pathlib import Path

import pytest

from ..store.adapters import ADAPTERS
from .seeds import seed_of, seeds
from .world import Simulation

STEPS = {"sqlite-memory": 250, "postgres": 80}


@pytest.mark.parametrize(
    ("adapter", "seed"),
    [
        *(("sqlite-memory", seed) for seed in seeds(7, 2024, 90_210)),
        *(("postgres", seed) for seed in seeds(7, 31)),
    ],
)
async def test_the_promises_hold_whatever_happens(adapter: str, seed: str, tmp_path: Path) -> None:
    async with Simulation.over(ADAPTERS[adapter], tmp_path, seed_of(seed)) as simulation:
        for _ in range(STEPS[adapter]):
            await simulation.step()
        await simulation.calm_down()
        await simulation.check()
