"""The dearest requests that each route takes: none causes more work than a bound, however large its body or wide its
query. Work is counted: names for which a better one is sought, steps of SQLite's machine, calls of functions.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import httpx
import pytest
from bench.guard_cases import Case, all_cases

from tasks_server.api import task_routes
from tasks_server.api.app import ApiConfig, create_app
from tasks_server.clock import ManualClock
from tasks_server.domain import limits, suggestions
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore
from tasks_server.telemetry import Telemetry

from ..store.adapters import query
from ..store.test_plans import Meter

FINISHED: Final = 12_000
"""Tasks of the one who asks: more than twice what a page looks at."""
MOST: Final = (400_000, 60_000, 2 * limits.FAULTS_MAX, 2 * 64 * limits.FAULTS_MAX)
"""Of one request: steps of SQLite, calls, names for which a better one is sought, and the characters of those
(twice for each fault: among its neighbours, and elsewhere)."""
BATCH: Final = "/v1/queues/batch"
BATCH_BYTES: Final = 100_000
"""Larger ones are read beside the loop."""


class Guarded:
    """The application over a store in memory, an owner with a long history, and what its requests cost."""

    def __init__(self, store: SqliteStore, clock: ManualClock) -> None:
        telemetry = Telemetry(clock, form="json", write=lambda _: None)
        config = ApiConfig(admin_key="the-operator-of-this-server", registration="open", queue_limit=1_000_000)
        self.app = create_app(store, clock=clock, telemetry=telemetry, config=config)
        self.store = store
        self.meter = Meter(store)
        self.headers: dict[str, str] = {}
        self.path_values: dict[str, str] = {}

    async def ask(self, case: Case) -> httpx.Response:
        path = case.path
        for name, value in self.path_values.items():
            path = path.replace(f"{{{name}}}", value)
        headers = self.headers | ({"Content-Type": "application/json"} if case.body else {})
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            content = case.body() if case.body else None
            return await client.request(case.method, f"{path}?{case.query}", content=content)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    clock = ManualClock()
    store = SqliteStore(None, Sealer(bytes(32)), clock)
    await store.open()
    made = Guarded(store, clock)
    answer = await made.ask(Case("", "POST", "/v1/owners/register", body=lambda: b'{"name": "small-shop"}'))
    made.headers = {"Authorization": f"Bearer {answer.json()['key']}"}
    body = b'{"httpRequest": {"url": "http://a/", "method": "GET"}, "config": {"executionDelay": 100000}}'
    task = (await made.ask(Case("", "POST", "/v1/queues/register", body=lambda: body))).json()
    made.path_values = {"id": task["id"], "name": "small-shop", "keyId": "nothing"}
    await query(store, FILL.format(now=clock.now(), count=FINISHED))
    await query(store, "INSERT INTO metadata SELECT owner, 'z', 'same', seq FROM task")
    await query(store, ATTEMPTS.format(now=clock.now(), count=FINISHED))
    yield made
    await store.close()


FILL: Final = """
INSERT INTO task (
    id, owner, lane, state, urgency, priority, created_at, due_at, execution_at, ended_at, target, status_code
)
SELECT printf('Z%023d', i), 1, 1, 'completed', 9, 0, {now}, {now}, {now}, {now} + i / 100, 'a.example:80', 200
FROM (WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)
"""
ATTEMPTS: Final = """
INSERT INTO attempt (task, number, owner, due_at, started_at, ended_at, outcome, status_code)
SELECT 1, i, 1, {now}, {now}, {now} + i / 100, 'success', 200
FROM (WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)
"""


class Effort:
    """Counts, on this thread, calls of the product's functions, names for which a better one is sought, and their
    characters.
    """

    def __init__(self) -> None:
        self.calls = self.sought = self.characters = 0

    def __enter__(self) -> "Effort":
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        self.calls += "tasks_server" in code.co_filename
        if code.co_name == "get_close_matches":
            self.sought += 1
            self.characters += len(frame.f_locals["word"])


async def test_no_request_causes_more_work_than_its_bound(guarded: Guarded) -> None:
    assert BATCH_BYTES < task_routes._ASIDE_BYTES
    cases = all_cases(guarded.app.table, {BATCH: BATCH_BYTES}, limits.BODY_REQUEST_MAX_BYTES)
    reached = {(case.method, case.path) for case in cases}
    assert {(route.method, route.path) for route in guarded.app.table} <= reached
    dear, failed = {}, {}
    for case in sorted(cases, key=lambda case: case.method == "DELETE"):
        suggestions._meant.cache_clear()
        before = guarded.meter.steps
        with Effort() as effort:
            answer = await guarded.ask(case)
        steps = guarded.meter.steps - before
        if answer.status_code >= 500 and case.path != "/monitor/health":
            failed[case.what] = answer.text
        cost = (steps, effort.calls, effort.sought, effort.characters)
        if any(spent > most for spent, most in zip(cost, MOST, strict=True)):
            dear[case.what] = cost
    assert (dear, failed) == ({}, {})
