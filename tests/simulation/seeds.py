"""Which seeds are played. A change is judged by the same ones each time; `make explore` draws new ones, many of them.

Each test prints its seed: `TASKS_SERVER_SIMULATION_SEED=… pytest tests/simulation` plays that one alone again.
"""

import os
import random
from typing import Final

GIVEN: Final = os.environ.get("TASKS_SERVER_SIMULATION_SEED")
EXPLORED: Final = 20
"""How many new ones are drawn for each test."""
_NEW: Final = "new-"


def seeds(*known: int) -> list[str]:
    """What to name the runs of a test by: each worker of a run must find the same names."""
    if GIVEN:
        return [GIVEN]
    exploring = os.environ.get("HYPOTHESIS_PROFILE") == "explore"
    return [*map(str, known), *(f"{_NEW}{number}" for number in range(EXPLORED * exploring))]


def seed_of(name: str) -> int:
    """The seed of a run, told to whoever reads of its failure."""
    seed = random.randrange(10**9) if name.startswith(_NEW) else int(name)
    print(f"seed {seed}")
    return seed
