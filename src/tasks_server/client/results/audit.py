"""Answers about what was done by hand."""

from tasks_server.client.results.base import Result


class AuditEntry(Result, frozen=True):
    """One thing that was done by hand. `by` is owner or operator, `via` api, cli or ui; `key` tells which key it was,
    `user` which user of the system ran a command. `subject` names the thing; `owner` is None when the owner is gone.
    """

    at: int
    by: str
    via: str
    key: str | None
    user: str | None
    owner_id: str | None
    owner: str | None
    kind: str
    action: str
    subject: str | None
    detail: str | None
