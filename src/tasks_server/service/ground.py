"""What the services that take tasks and schedules in stand on."""

import os
from collections.abc import Callable
from datetime import UTC, tzinfo

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain.abilities import ALL, Abilities
from tasks_server.domain.egress import OPEN, Egress
from tasks_server.store.ports import Store


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
