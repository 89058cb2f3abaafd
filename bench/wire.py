"""What a registration costs beside the HTTP server and the store: decode, validate, place, encode. Prints JSON.

Usage: python bench/wire.py
"""

import asyncio
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC
from typing import Any

from tasks_server.api import wire
from tasks_server.api.app import ApiConfig, create_app
from tasks_server.clock import SystemClock
from tasks_server.domain.egress import OPEN
from tasks_server.domain.owner import Owner, OwnerKey
from tasks_server.domain.task import NewTask
from tasks_server.service.ground import Ground
from tasks_server.service.tasks import TaskService
from tasks_server.store.owning import KeyHolder
from tasks_server.store.ports import Inserted
from tasks_server.telemetry import Telemetry

KEY = "k" * 64
BODIES: dict[str, dict[str, Any]] = {
    "minimal": {"httpRequest": {"url": "http://127.0.0.1:8080/hook", "method": "POST"}},
    "typical": {
        "httpRequest": {
            "url": "https://hooks.example.com:8443/orders/17?source=shop",
            "method": "POST",
            "headers": {"Content-Type": "application/json", "X-Signature": "d2VsbC1rbm93bi1zaWduYXR1cmU="},
            "data": {"order": 17, "state": "paid", "lines": [{"sku": "A-1", "count": 2}, {"sku": "B-2", "count": 1}]},
        },
        "config": {"executionDelay": 60_000, "retry": 5, "retryInterval": 1_000, "timeout": 10_000},
        "metadata": {"order": "17"},
    },
    "text_forms": {
        "httpRequest": {"url": "https://hooks.example.com/orders/17", "method": "post"},
        "config": {"executeAt": "2090-01-01T00:00:00+01:00", "retry": 5, "retryInterval": "1m", "timeout": "10s"},
    },
}


class _Sink:
    """Takes every task at once; stands for the store, whose cost is measured elsewhere."""

    async def insert(self, task: NewTask) -> Inserted:
        return Inserted()

    async def owner_by_key(self, digest: bytes) -> KeyHolder:
        owner = Owner("01ARYZ6S410000000000000000", "bench-owner", 0)
        return KeyHolder(owner, OwnerKey("01ARYZ6S4100000000000000", 0, 2**60))


def microseconds(work: Callable[[], object], seconds: float = 0.4, rounds: int = 5) -> float:
    """Microseconds of one call: the best of some rounds, which other work on the machine disturbed least."""
    work()
    best = []
    for _ in range(rounds):
        count, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds / rounds:
            for _ in range(100):
                work()
            count += 100
        best.append(spent / count * 1e6)
    return round(min(best), 2)


def parts(body: bytes) -> dict[str, float]:
    """The cost of each step of one registration, in microseconds."""
    service = TaskService(Ground(_Sink(), SystemClock()))  # type: ignore[arg-type]  # of a store, only `insert` is called
    draft = wire.read_draft(body, 1_700_000_000_000, UTC, OPEN)
    placed = service._place("01ARYZ6S410000000000000000", draft)

    def whole() -> bytes:
        read = wire.read_draft(body, 1_700_000_000_000, UTC, OPEN)
        return wire.encode(wire.new_task_view(service._place("01ARYZ6S410000000000000000", read)))

    return {
        "decode_and_validate": microseconds(lambda: wire.read_draft(body, 1_700_000_000_000, UTC, OPEN)),
        "place": microseconds(lambda: service._place("01ARYZ6S410000000000000000", draft)),
        "encode": microseconds(lambda: wire.encode(wire.new_task_view(placed))),
        "together": microseconds(whole),
    }


async def through_asgi(body: bytes, count: int = 20_000) -> float:
    """Microseconds from the ASGI call to the last byte sent, with a key that is remembered."""
    clock = SystemClock()
    app = create_app(_Sink(), clock=clock, telemetry=Telemetry(clock), config=ApiConfig())  # type: ignore[arg-type]  # as above
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/queues/register",
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "headers": [
            (b"host", b"127.0.0.1:9420"),
            (b"authorization", b"Bearer " + KEY.encode()),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
    }
    message = {"type": "http.request", "body": body, "more_body": False}
    statuses = []

    async def receive() -> dict[str, Any]:
        return message

    async def send(sent: Any) -> None:
        if sent["type"] == "http.response.start":
            statuses.append(sent["status"])

    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(count // 5):
            await app(scope, receive, send)
        rounds.append((time.perf_counter() - began) / (count // 5) * 1e6)
    if set(statuses) != {201}:
        raise SystemExit(f"answers were {statistics.mode(statuses)}")
    return round(min(rounds), 2)


def main() -> None:
    result: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine(), "microseconds": {}}
    for name, body in BODIES.items():
        encoded = json.dumps(body).encode()
        costs = parts(encoded)
        costs["whole_request_in_asgi"] = asyncio.run(through_asgi(encoded))
        result["microseconds"][name] = costs
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
