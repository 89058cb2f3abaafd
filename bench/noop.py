"""Handlers that do nothing, to measure what running them costs."""

from typing import Any

from tasks_server import handlers


@handlers.register("noop", concurrency=1_024)
async def noop(payload: dict[str, Any]) -> None:
    """A coroutine."""


@handlers.register("noop-sync", concurrency=64)
def noop_sync(payload: dict[str, Any]) -> None:
    """For a thread."""
