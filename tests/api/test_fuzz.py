"""The API against what its own OpenAPI document says: odd and valid requests, in-process, against a real store.

Whatever comes, there is no 5xx, no status and no body that the document does not name, and what the document
forbids is refused.
"""

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tasks_server.api.app import ApiConfig, App
from tasks_server.api.exchange import Receive, Scope, Send
from tasks_server.clock import ManualClock
from tasks_server.domain.bulk import Action, BulkFilter
from tasks_server.domain.ids import is_owner_id
from tasks_server.domain.own_hosts import KnownHosts
from tasks_server.domain.reading import DATES, DURATIONS
from tasks_server.domain.validation import read
from tasks_server.service.bulks import BulkService
from tasks_server.service.ground import Ground
from tasks_server.service.lanes import LaneService
from tasks_server.service.owners import OwnerService
from tasks_server.service.schedules import ScheduleService
from tasks_server.service.tasks import TaskService
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.store import SqliteStore

from .conftest import ADMIN_KEY, Api, task


def what_the_document_forbids_is_refused(ctx: Any, response: Any, case: Any) -> Any:
    """A body that is too large is refused before anybody looks into it."""
    return None if response.status_code == 413 else negative_data_rejection(ctx, response, case)


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    what_the_document_forbids_is_refused,
    allow_header_conformance,
]
OWNER = "fuzzed-owner"
EXAMPLES = 20
EXAMPLES_WITHOUT_BODY = 8
"""Fewer can differ when there is nothing but a path and a query."""
TAKES_ADMIN = {("PATCH", "/v1/owners/{name}"), ("GET", "/v1/owners")}
"""Done, or done in full, with the admin key alone."""
RARELY_DONE = {("DELETE", "/v1/owners/{name}"), ("DELETE", "/v1/owners/{name}/keys/{keyId}")}
"""Its owner has tasks; its key's id is not known."""


class World:
    """The application, with an owner and tasks in every state, made anew for each test: the server is started again."""

    def __init__(self) -> None:
        self.app: App | None = None
        self.key = ""
        self.owner_id = ""
        self.ids: list[str] = []
        self.schedules: list[str] = []
        self.bulks: list[str] = []
        self.named: list[str] = []
        self.lanes = [f"lane-{number}" for number in range(EXAMPLES)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            assert self.app is not None
            await self.app(scope, receive, send)
            return
        await receive()
        clock = ManualClock()
        store = SqliteStore(None, Sealer(bytes(32)), clock)
        await store.open()
        self.app = Api(
            store, clock, ApiConfig(admin_key=ADMIN_KEY, registration="open", hosts=KnownHosts(["testserver"]))
        ).app
        await self._populate(store, clock)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await store.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _populate(self, store: SqliteStore, clock: ManualClock) -> None:
        owner, issued = await OwnerService(store, clock).register(OWNER, 100_000)
        self.key, self.owner_id = issued.key, owner.id
        tasks = TaskService(Ground(store, clock))

        async def made(steps: tuple[str, ...]) -> str:
            new = await tasks.submit(owner.id, read(task(executionDelay="1h"), clock.now(), tasks.zone))
            for step in steps:
                await getattr(tasks, step)(owner.id, new.id, by="owner")
            return new.id

        states = [(), ("pause",), ("revoke",), ("execute",), ("pause", "resume")] * EXAMPLES
        self.ids = await asyncio.gather(*map(made, states))
        calls = [
            read({"handler": {"name": "a"}, "config": {"executionDelay": "1h"}}, clock.now(), tasks.zone)
        ] * EXAMPLES
        self.named = [new.id for new in await asyncio.gather(*(tasks.submit(owner.id, call) for call in calls))]
        schedules = ScheduleService(Ground(store, clock))
        asked = [{"name": f"number-{number}", "every": "1h", "task": task()} for number in range(EXAMPLES)]
        shown = await asyncio.gather(*(schedules.create(owner.id, one) for one in asked))
        self.schedules = [one.schedule.id for one in shown]
        bulks = BulkService(Ground(store, clock))
        pieces = [bulks.create(owner.id, Action.RETRY, BulkFilter(lane="nowhere"), "owner") for _ in range(5)]
        self.bulks = [bulk.id for bulk in await asyncio.gather(*pieces)]
        lanes = LaneService(Ground(store, clock))
        await asyncio.gather(*(lanes.put(owner.id, name, {"maxConcurrent": 5}, "owner") for name in self.lanes))

    def aim(self, case: schemathesis.Case, seed: int) -> str | None:
        """Points most requests at what exists, so that they get past the door. The key to send."""
        if seed % 10 == 9:
            return random.Random(seed).choice([self.key, ADMIN_KEY, None])
        if "id" in case.path_parameters:
            kind = case.operation.path.split("/{")[0].rpartition("/")[2]
            known = {"schedules": self.schedules, "tasks": self.named, "bulk": self.bulks}.get(kind, self.ids)
            if case.operation.path.endswith("/retry") and seed % 2:
                known = self.ids[2::5]  # those that are final
            case.path_parameters["id"] = known[seed % len(known)]
        if "name" in case.path_parameters:
            of_lane = "/lanes/" in case.operation.path
            case.path_parameters["name"] = self.lanes[seed % len(self.lanes)] if of_lane else OWNER
        if is_owner_id(case.headers.get("X-Tasks-Owner-Id", "")):
            case.headers["X-Tasks-Owner-Id"] = self.owner_id
        case.query.pop("cursor", None)
        if seed % 2:  # dates and ids, whose rules no schema can tell
            for name in ("task", "since", "until"):
                case.query.pop(name, None)
        admin = (case.method, case.operation.path) in TAKES_ADMIN
        return ADMIN_KEY if admin else self.key


def tame(body: Any, seed: int) -> None:
    """Gives most tasks a URL and dates that obey the rules that no schema can tell."""
    if not isinstance(body, dict) or seed % 4 == 3:
        return
    if "task_name" in body or "scheduled_at" in body:
        if body.get("scheduled_at") is not None:
            body["scheduled_at"] = "2030-01-31T12:00:00Z"
        if "schedule" in body:
            body |= {"schedule": "*/5 * * * *", "timezone": None, "name": None}
        return
    if "overlap" in body or "cron" in body or "every" in body or "task" in body:
        for name in ("every", "timezone", "startAt", "endAt", "jitter", "missedWindow"):
            body.pop(name, None)
        body |= {"cron": "*/5 * * * *"}
        if body.get("name") is not None:
            body["name"] = f"fuzzed-{seed}"
    for registration in body.get("tasks", [body.get("task") or body]):
        if registration.get("httpRequest") is not None:
            registration["httpRequest"] |= {"url": "https://target.test/hook", "method": "POST"}
            for name in ("headers", "data", "dataBase64"):
                registration["httpRequest"].pop(name, None)
        for name in (*DATES, *DURATIONS, "executeImmediately"):
            (registration.get("config") or {}).pop(name, None)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def document(world: World) -> Iterator[Any]:
    from schemathesis.python.asgi import shutdown_lifespans

    schema = schemathesis.openapi.from_asgi("/openapi.json", world)
    for methods in schema.raw_schema["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)  # the key is this test's to send or to leave out
    yield schema
    shutdown_lifespans()


def operations() -> list[tuple[str, str]]:
    """Method and path of everything that the document describes."""
    clock = ManualClock()
    app = Api(SqliteStore(None, Sealer(bytes(32)), clock), clock, ApiConfig()).app
    return [(route.method, route.path) for route in app.table if not route.hidden]


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("method", "path"), operations())
def test_the_api_keeps_to_its_document(
    world: World, document: schemathesis.BaseSchema, method: str, path: str, mode: GenerationMode
) -> None:
    seen: set[int] = set()
    examples = EXAMPLES if document[path][method].body else EXAMPLES_WITHOUT_BODY

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=HealthCheck)
    @given(case=document[path][method].as_strategy(generation_mode=mode), seed=st.integers(0, 2**32))
    def ask(case: schemathesis.Case, seed: int) -> None:
        key = world.aim(case, seed)
        if mode is GenerationMode.POSITIVE:
            tame(case.body, seed)
        response = case.call(headers={"Authorization": f"Bearer {key}"} if key else {})
        seen.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()

    # Else this test could pass by being turned away at the door.
    if mode is GenerationMode.POSITIVE and (method, path) not in RARELY_DONE:
        assert seen & {200, 201, 202, 204}
