"""A server that answers by a script, and both clients under a clock that moves only when they sleep."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from tasks_server.client import AsyncClient, Client, Retries

KEY = "K" * 64
TASK = {
    "id": "T" * 24,
    "state": "RUNNING",
    "createdAt": 1,
    "statusCode": 0,
    "estimateEndAt": 0,
    "estimateExecutionAt": 2,
    "response": None,
    "metadata": None,
}
DETAIL = TASK | {
    "phase": "scheduled",
    "lane": "default",
    "priority": 0,
    "attempts": 0,
    "failures": 0,
    "repeats": 0,
    "error": None,
    "expireAt": None,
    "schedule": None,
}
Outcome = httpx.Response | Exception


def json(status: int, body: object, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, content=msgspec.json.encode(body))


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"type": f"/docs#error-{code}", "status": status, "code": code, "detail": f"it is {code}"}
    return json(status, body, **{"x-request-id": "r-1", **headers})


@dataclass
class Script:
    """What the server answers, one outcome a request, and what it saw."""

    outcomes: list[Outcome]
    retries: Retries = field(default_factory=Retries)
    now: float = 1_000.0
    chance: float = 1.0
    requests: list[httpx.Request] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return httpx.Response(outcome.status_code, headers=outcome.headers, content=outcome.content)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def _sleep_async(self, seconds: float) -> None:
        self._sleep(seconds)

    def options(self) -> dict[str, Any]:
        return {
            "retries": self.retries,
            "monotonic": lambda: self.now,
            "random": lambda: self.chance,
            "transport": httpx.MockTransport(self._answer),
        }

    def sync(self) -> Client:
        return Client("http://api.test", KEY, sleep=self._sleep, **self.options())

    def asynchronous(self) -> AsyncClient:
        return AsyncClient("http://api.test", KEY, sleep=self._sleep_async, **self.options())


Ask = Callable[[Script, Callable[[Any], Any]], Any]
"""Plays what is asked of a client; lists become lists."""


def ask_sync(script: Script, asked: Callable[[Any], Any]) -> Any:
    with script.sync() as client:
        answer = asked(client)
        return list(answer) if isinstance(answer, Iterator) else answer


def ask_async(script: Script, asked: Callable[[Any], Any]) -> Any:
    async def run() -> Any:
        async with script.asynchronous() as client:
            answer = asked(client)
            if isinstance(answer, AsyncIterator):
                return [item async for item in answer]
            assert isinstance(answer, Coroutine)
            return await answer

    return asyncio.run(run())
