"""Changes of the cipher key: everything that is sealed with an old one is sealed anew, step by step."""

from collections.abc import Callable
from typing import Final

from tasks_server.store.ports import RESEAL_FROM, Resealing

STEP_MAX: Final = 200
"""Values in one step: a few ms in which others wait for the store."""


async def reseal_all(store: Resealing, on_step: Callable[[int, int], None]) -> int:
    """Goes once through all that is sealed; how many values were sealed anew. `on_step` gets, after each step, how
    many were looked at and changed so far. It may be broken off at any time and begun again.
    """
    seen = changed = 0
    after: tuple[int, int, int] | None = RESEAL_FROM
    while after is not None:
        done = await store.reseal(after, STEP_MAX)
        seen, changed, after = seen + done.seen, changed + done.changed, done.after
        on_step(seen, changed)
    return changed
