"""Records tasks instead of sending them, whoever in this process registers them with a client."""

import itertools
from typing import Any, Final, Self
from unittest import mock

import msgspec

from tasks_server.client.clients import AsyncClient, Client
from tasks_server.client.protocol import Answer, Reply, Request, Rest

_REGISTER: Final = ("POST", "/v1/queues/register")
_BATCH: Final = ("POST", "/v1/queues/batch")
_RUN: Final = ("POST", "/tasks")


class Recorded(msgspec.Struct, frozen=True):
    """A task as it would have been registered, in the words of the API. `handler`: the name, of one that runs a handler
    with `payload`; else `request` has `url`, `method`, `data` …
    """

    id: str
    handler: str | None
    payload: Any
    request: dict[str, Any] | None
    config: dict[str, Any]
    metadata: dict[str, str] | None
    idempotency_key: str | None

    @property
    def url(self) -> str | None:
        """The URL that would be called."""
        return None if self.request is None else self.request.get("url")

    @property
    def data(self) -> Any:
        """What would be sent there."""
        return None if self.request is None else self.request.get("data")


class Recorder:
    """While it is entered, no client in this process sends anything: tasks are kept in `tasks`, in order; what else a
    client asks for raises `AssertionError`. The same idempotency key gives the first task, as on a server.
    """

    def __init__(self) -> None:
        self.tasks: list[Recorded] = []
        self._numbers = itertools.count(1)
        self._patches = [
            mock.patch.object(Client, "_take", self._take()),
            mock.patch.object(AsyncClient, "_take", self._take_async()),
        ]

    def __enter__(self) -> Self:
        from tasks_server.handlers.enqueuing import connected

        self._connected = connected(Client("http://recorded.invalid"))
        self._connected.__enter__()
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for patch in self._patches:
            patch.stop()
        self._connected.__exit__(None, None, None)

    def enqueued(self, handler: Any) -> list[Any]:
        """The payloads of tasks that run a handler, named or as the function that was registered."""
        name = handler if isinstance(handler, str) else handler.enqueue.__self__.name
        return [task.payload for task in self.tasks if task.handler == name]

    def clear(self) -> None:
        """Forgets what was recorded."""
        self.tasks.clear()

    def _take(self) -> Any:
        def take(_: Client, step: Request[Any] | Rest) -> Reply:
            return None if isinstance(step, Rest) else self._answer(step)

        return take

    def _take_async(self) -> Any:
        async def take(_: AsyncClient, step: Request[Any] | Rest) -> Reply:
            return None if isinstance(step, Rest) else self._answer(step)

        return take

    def _answer(self, request: Request[Any]) -> Answer:
        body = msgspec.json.decode(request.content or b"null")
        key = request.headers.get("Idempotency-Key")
        asked = request.route.method, request.route.path
        if asked == _REGISTER:
            answer: Any = _shown(self._record(body, key))
        elif asked == _BATCH:
            answer = {"tasks": [_shown(self._record(each, None)) for each in body["tasks"]]}
        elif asked == _RUN and body.get("type") != "recurring":
            options = {name: value for name, value in body.items() if name not in ("task_name", "payload", "metadata")}
            named = {"handler": {"name": body["task_name"], "payload": body.get("payload")}, "config": options}
            answer = {"id": self._record(named | {"metadata": body.get("metadata")}, key).id}
        else:
            said = "tasks are recorded, not sent; for all else, use a server (the fixture tasks_server)"
            raise AssertionError(f"{asked[0]} {request.target}: {said}")
        return Answer(201, {}, msgspec.json.encode(answer))

    def _record(self, body: dict[str, Any], key: str | None) -> Recorded:
        known = next((task for task in self.tasks if key is not None and task.idempotency_key == key), None)
        if known is not None:
            return known
        handler = body.get("handler") or {}
        task = Recorded(
            f"RECORDED{next(self._numbers):016}",
            handler.get("name"),
            handler.get("payload"),
            body.get("httpRequest"),
            body.get("config") or {},
            body.get("metadata"),
            key,
        )
        self.tasks.append(task)
        return task


def _shown(task: Recorded) -> dict[str, Any]:
    times = dict.fromkeys(("createdAt", "statusCode", "estimateEndAt", "estimateExecutionAt"), 0)
    return {"id": task.id, "state": "RUNNING", **times, "response": None, "metadata": task.metadata}
