"""What the services that take tasks and schedules in stand on."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Final, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from tasks_server.clock import Clock
from tasks_server.domain.abilities import ALL, Abilities
from tasks_server.domain.certificates import Certificates, Examined, Unexamined
from tasks_server.domain.egress import OPEN, Egress
from tasks_server.store.ports import Store

_T = TypeVar("_T")
_TRIES: Final = 2
"""How often certificates are examined for one request: it may find others in the store than when it was asked first."""


class Examiner(Protocol):
    """Looks into certificates and keys, elsewhere."""

    async def examine(self, owner: str, asked: Sequence[Certificates]) -> Mapping[Certificates, Examined]:
        """What is to be told of each. May raise `Throttled`."""
        ...


class Ground(msgspec.Struct, frozen=True):
    """An open store and what holds for all requests. Dates without a zone count in `zone`; `random` gives that many
    random bytes; `egress` says what tasks may call, `abilities` what the engine can do.
    """

    store: Store
    clock: Clock
    zone: tzinfo = UTC
    random: Callable[[int], bytes] = os.urandom
    egress: Egress = OPEN
    abilities: Abilities = ALL
    examiner: Examiner | None = None
    """Asked for what `abilities` leave unexamined."""

    async def examining(self, owner: str, act: Callable[[Abilities], Awaitable[_T]]) -> _T:
        """What `act` gives with these abilities, once they know of all certificates and keys that it asks for."""
        known: dict[Certificates, Examined] = {}
        abilities = self.abilities
        for _ in range(_TRIES):
            try:
                return await act(abilities)
            except Unexamined as error:
                if self.examiner is None:
                    raise
                known |= await self.examiner.examine(owner, error.asked)
                abilities = replace(self.abilities, examine=_Known(known))
        return await act(abilities)


class _Known:
    """An `Examine` by what is known."""

    def __init__(self, known: Mapping[Certificates, Examined]) -> None:
        self._known = known

    def __call__(self, asked: Certificates) -> Examined:
        found = self._known.get(asked)
        if found is None:
            raise Unexamined(asked)
        return found
