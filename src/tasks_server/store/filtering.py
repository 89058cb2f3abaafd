"""Which tasks a list holds, beyond what its order and its state say."""

from collections.abc import Iterator

import msgspec


class TaskFilter(msgspec.Struct, frozen=True):
    """What all tasks of a list have in common; None: anything. Instants: from the first on, until before the second.

    Handlers and schedules have an index of their own in order of arrival. All else is looked at along the way: what
    such a list costs grows with the tasks that it passes over.
    """

    handlers_only: bool = False
    """Only tasks that run handlers."""
    target: str | None = None
    host: str | None = None
    """Of the target, in ASCII: with its port, or for any port."""
    priority: int | None = None
    schedule: str | None = None
    """The id of the schedule that made them."""
    created_from: int | None = None
    created_until: int | None = None
    due_from: int | None = None
    due_until: int | None = None
    ended_from: int | None = None
    """Ended, or paused: as the order by the end takes it. What has neither ended nor is paused has 0."""
    ended_until: int | None = None
    statuses: tuple[int, int] | None = None
    """The last status code, from the first to the second inclusive."""

    def comparisons(self) -> Iterator[tuple[str, str, int | str]]:
        """Column, operator and value of each condition on the task's own row."""
        for column, operator, value in (
            ("target", "=", self.target),
            ("priority", "=", self.priority),
            ("created_at", ">=", self.created_from),
            ("created_at", "<", self.created_until),
            ("due_at", ">=", self.due_from),
            ("due_at", "<", self.due_until),
            ("ended_at", ">=", self.ended_from),
            ("ended_at", "<", self.ended_until),
            ("status_code", ">=", self.statuses[0] if self.statuses else None),
            ("status_code", "<=", self.statuses[1] if self.statuses else None),
        ):
            if value is not None:
                yield column, operator, value


EVERYTHING = TaskFilter()
HANDLERS = "t.target >= '@' AND t.target < 'A'"
"""The condition for tasks that run handlers, in the words of the partial index of them."""


def of_host(host: str) -> tuple[str, str, str]:
    """What is asked of targets: that they equal the first, or lie from the second up to the third.

    >>> of_host("a.example")
    ('a.example', 'a.example:', 'a.example;')
    """
    return host, f"{host}:", f"{host};"


HOST = "(t.target = {0} OR (t.target >= {1} AND t.target < {2}))"
"""The condition for calls of a host, with the places of the three."""
