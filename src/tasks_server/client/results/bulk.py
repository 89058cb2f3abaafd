"""Answers about bulk work."""

from typing import Any

from tasks_server.client.results.base import Readable, Result


class Bulk(Readable, frozen=True):
    """Bulk work. It has looked at `seen` tasks of about `total`; those that its filter found were `changed`, or
    `skipped` because their state did not allow it. `waits_for`: what it needs to go on, or None.
    """

    id: str
    action: str
    filter: dict[str, Any]
    state: str
    total: int
    seen: int
    changed: int
    skipped: int
    waits_for: str | None
    error: str | None
    asked_by: str
    created_at: int
    started_at: int
    updated_at: int
    ended_at: int

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.state in ("done", "cancelled", "failed")


class BulkSight(Result, frozen=True):
    """What bulk work would do now. `at_least`: there are more tasks than a dry run looks at. `sample`: ids of some that
    would change.
    """

    action: str
    filter: dict[str, Any]
    dry_run: bool
    seen: int
    changed: int
    skipped: int
    at_least: bool
    sample: list[str]
