"""A client for Tasks Server, sync and async, with the names of the API. It imports nothing of the server.

    from tasks_server.client import Client

    with Client("http://127.0.0.1:9420", key) as client:
        task = client.tasks.register(url="https://shop.example/hook", data={"order": 7}, delay="15m", retry=5)

`results` has what methods answer, `errors` what they raise, `options` what they take, `outbox` the way to enqueue
within a database transaction of one's own.
"""

from tasks_server.client.clients import AsyncClient, Client
from tasks_server.client.errors import (
    Conflict,
    ConnectionFailed,
    FieldFault,
    Forbidden,
    InvalidRequest,
    NotFound,
    Refused,
    TasksError,
    Throttled,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from tasks_server.client.options import Config, HttpRequest, ScheduleFields, TaskFields
from tasks_server.client.protocol import Retries
from tasks_server.client.results import Task, TaskDetail

__all__ = [
    "AsyncClient",
    "Client",
    "Config",
    "Conflict",
    "ConnectionFailed",
    "FieldFault",
    "Forbidden",
    "HttpRequest",
    "InvalidRequest",
    "NotFound",
    "Refused",
    "Retries",
    "ScheduleFields",
    "Task",
    "TaskDetail",
    "TaskFields",
    "TasksError",
    "Throttled",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
]
