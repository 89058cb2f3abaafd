"""Answers about callbacks."""

from tasks_server.client.results.base import Result


class CallbackHandler(Result, frozen=True):
    """A handler by its name."""

    name: str


class Callback(Result, frozen=True):
    """What is called when a task has ended: a `url` or a `handler`. Secrets are masked."""

    url: str | None
    method: str
    headers: dict[str, str] | None
    handler: CallbackHandler | None
    retry: int
    lane: str


class Callbacks(Result, frozen=True):
    """What is called when an owner's tasks have ended; None: nothing."""

    failure_callback: Callback | bool | str | None
    success_callback: Callback | bool | str | None
