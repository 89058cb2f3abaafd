"""The pytest plugin, loaded by its entry point. It imports what a fixture needs when a test asks for it, not before."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tasks_server.client import AsyncClient, Client
    from tasks_server.testing import Recorder, TestServer


@pytest.fixture
def tasks_server() -> "Iterator[TestServer]":
    """A server of the test's own on a free port, with an owner; `client` speaks for it, `advance` moves its clock.
    Handlers that the test enqueues without a client go there.
    """
    from tasks_server.handlers.enqueuing import connected
    from tasks_server.testing import TestServer

    with TestServer() as server, connected(server.client):
        yield server


@pytest.fixture
def tasks_client(tasks_server: "TestServer") -> "Client":
    """A client of the test's own server."""
    return tasks_server.client


@pytest.fixture
def tasks_async_client(tasks_server: "TestServer") -> "AsyncClient":
    """The same for asyncio. Close it, or use it in an `async with`."""
    return tasks_server.async_client()


@pytest.fixture
def tasks_recorded() -> "Iterator[Recorder]":
    """Keeps the tasks that clients and handlers would send, of all clients in this process, and sends none."""
    from tasks_server.testing import Recorder

    with Recorder() as recorder:
        yield recorder
