"""What the engine holds: the claims in flight, counted by owner and target. One event loop touches it."""

from typing import TypeVar

import msgspec

from tasks_server.domain.request import TaskConfig
from tasks_server.domain.slots import Held, Slots
from tasks_server.store.ports import Claim

Key = TypeVar("Key")


class Running(msgspec.Struct):
    """A claim in flight, under the token by which the caller knows it."""

    token: int
    claim: Claim
    config: TaskConfig
    deadline_at: int
    """When its call is over at the latest."""


class InFlight:
    """The claims in flight."""

    def __init__(self) -> None:
        self._running: dict[int, Running] = {}
        self._owners: dict[int, int] = {}
        self._targets: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._running)

    def held(self) -> Held:
        """A picture of the counts as they are now."""
        return Held(len(self._running), self._owners.copy(), self._targets.copy())

    def add(self, running: Running) -> None:
        self._running[running.token] = running
        claim = running.claim
        self._owners[claim.owner] = self._owners.get(claim.owner, 0) + 1
        self._targets[claim.target] = self._targets.get(claim.target, 0) + 1

    def take(self, token: int) -> Running | None:
        """Removes and gives the claim of `token`; None when it was dropped before."""
        running = self._running.pop(token, None)
        if running is not None:
            _less(self._owners, running.claim.owner)
            _less(self._targets, running.claim.target)
        return running

    def find(self, token: int) -> Running | None:
        """The claim of `token`, while it is in flight."""
        return self._running.get(token)

    def has(self, token: int) -> bool:
        """Whether the claim of `token` is still in flight."""
        return token in self._running

    def all(self) -> list[Running]:
        return list(self._running.values())

    def full_targets(self, slots: Slots) -> frozenset[str]:
        """The targets that may get no more calls now."""
        return frozenset(target for target, count in self._targets.items() if not slots.target_room(target, count))


def _less(counts: dict[Key, int], key: Key) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
