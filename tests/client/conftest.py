"""Both clients, over a script, over the whole API in this process, and over a real server."""

import pytest

from tests.api.conftest import Api, api, config, store
from tests.cli.conftest import Serve, data_dir, serve
from tests.client.scripted import Ask, ask_async, ask_sync

__all__ = ["Api", "Serve", "api", "config", "data_dir", "serve", "store"]


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each of the two clients."""
    kind: Ask = request.param
    return kind
