"""Answers about the server."""

from typing import Any

import msgspec


class Health(msgspec.Struct, frozen=True):
    """`ok`, `degraded` or `unavailable`, what was looked at, and the reasons; servers of before tell none."""

    status: str
    checks: dict[str, dict[str, Any]]
    reasons: list[str] = []


class Stats(msgspec.Struct, frozen=True):
    """How many tasks have which status, those that send requests included; of finished ones, those that are kept."""

    pending: int
    processing: int
    completed: int
    failed: int
    paused: int
    cancelled: int
    total: int
