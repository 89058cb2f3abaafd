"""Owners: who may submit tasks, under which name, with how many places in the queue."""

import re
from typing import Final, Literal

import msgspec

from tasks_server.domain import limits
from tasks_server.domain.errors import Forbidden, Refused, Unauthorized

By = Literal["owner", "operator"]
"""Who acts on what is an owner's: itself, or the operator, who may do so in the owner's name."""
WHO: Final[dict[By, str]] = {"owner": "its owner", "operator": "the operator"}
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9]|-(?!-))*[a-z0-9]")


class Owner(msgspec.Struct, frozen=True):
    """An owner as the store knows it. `tasks_in_queue` counts every task that is not final."""

    id: str
    name: str
    created_at: int
    tasks_in_queue_max: int = limits.TASKS_IN_QUEUE_MAX_DEFAULT
    tasks_in_queue: int = 0
    retention_ms: int | None = None
    """For how long its history is kept; None: as the operator has set for all."""
    suspended_at: int | None = None
    """Since when its tasks do not start and its keys are refused; None: it is not suspended."""
    requests_max: int | None = None
    """How many requests a minute each API process takes of it; None: as of all others."""

    @property
    def retention_days(self) -> float | int | None:
        """The same in days, whole where they are."""
        if self.retention_ms is None:
            return None
        days = self.retention_ms / limits.DAY_MS
        return int(days) if days.is_integer() else days


class OwnerKey(msgspec.Struct, frozen=True):
    """A live key of an owner, without its secret."""

    id: str
    created_at: int
    used_at: int | None = None
    """When it was used last, to `limits.KEY_USE_NOTED_MS`; None: never, as far as that is known."""


def name_fault(name: str) -> str | None:
    """Why `name` cannot name an owner, or None when it can.

    >>> name_fault("small-shop")
    >>> name_fault("Shop!")
    'must be 5 to 32 of a-z, 0-9 and single hyphens, start with a letter and end with a letter or digit'
    """
    length_fits = limits.OWNER_NAME_LENGTH_MIN <= len(name) <= limits.OWNER_NAME_LENGTH_MAX
    if length_fits and _NAME.fullmatch(name):
        return None
    return (
        f"must be {limits.OWNER_NAME_LENGTH_MIN} to {limits.OWNER_NAME_LENGTH_MAX} of a-z, 0-9 and single hyphens, "
        "start with a letter and end with a letter or digit"
    )


def queue_full(limit: int) -> Refused:
    """The refusal of a task for which there is no place in the queue."""
    return Refused(
        f"the queue is full: this owner may have {limit} tasks in queue; wait for some to end, or ask the "
        "operator for a higher limit",
        code="queue_full",
    )


def queue_filled(owner: Owner, later: int, paused: int, more: int) -> Refused:
    """The same, told with where the tasks of the owner stand: how many wait for their time (`later`), are paused, and
    should have come in.
    """
    asked = "" if more == 1 else f"; {more:,} more do not fit"
    waiting = f"{later:,} of them are due later" + (f", {paused:,} are paused" if paused else "")
    return Refused(
        f"the queue is full: {owner.name} has {owner.tasks_in_queue:,} of the {owner.tasks_in_queue_max:,} tasks in "
        f"queue that it may have{asked}. {waiting}. Wait until some have ended, or have the operator raise the limit: "
        f"tasks-server owner set-limit {owner.name} N",
        code="queue_full",
    )


def suspended(owner: Owner) -> Forbidden:
    """The refusal of what the key of an owner asks for that is suspended."""
    return Forbidden(
        f"the owner {owner.name} is suspended: ask the operator of this server, who alone can resume it",
        code="owner_suspended",
    )


def owner_gone() -> Unauthorized:
    """The refusal of what an owner asks for that was removed meanwhile."""
    return Unauthorized("the owner has been removed", code="owner_unknown")


def by_whom(by: By) -> str:
    """What a timeline says of who acted.

    >>> by_whom("operator")
    'by the operator'
    """
    return f"by {WHO[by]}"
