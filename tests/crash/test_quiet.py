"""A server with nothing else to do: what a task plans for itself, retries and repeats, needs nobody to wake it."""

import time
from pathlib import Path

import pytest

from .rounds import wait_until_final
from .server import Server
from .target import Target


@pytest.mark.process
def test_retries_and_repeats_run_on_time_on_a_quiet_server(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with Target() as target:
        server.start()
        try:
            _, owner = server.ask("POST", "/v1/owners/register", {"name": "quiet-shop"})
            due = time.time_ns() // 1_000_000
            body = {
                "httpRequest": {"url": f"http://127.0.0.1:{target.port}/?due={due}", "method": "GET"},
                "config": {"repeat": 4, "repeatInterval": 50, "repeatExponential": False},
            }
            failing = {
                "httpRequest": {"url": "http://127.0.0.1:1/", "method": "GET"},
                "config": {"retry": 4, "retryInterval": 50, "retryExponential": False},
            }
            ids = []
            for task in (body, failing):
                status, answer = server.ask("POST", "/v1/queues/register", task, owner["key"])
                assert status == 201, answer
                ids.append(answer["id"])
            assert wait_until_final(server, owner["key"], "quiet-shop", 20) == 0
            for task_id in ids:
                _, attempts = server.ask("GET", f"/v1/queues/{task_id}/attempts", key=owner["key"])
                assert len(attempts) == 5
                # Far more than it takes, far less than until an engine looks by itself.
                assert all(attempt["startedAt"] - attempt["dueAt"] < 2_500 for attempt in attempts), attempts
        finally:
            server.stop()
