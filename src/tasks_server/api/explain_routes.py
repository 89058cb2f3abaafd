"""`/v1/queues/:id/explain`: why a task has not run."""

from typing import Any

import msgspec

from tasks_server.api.exchange import Answer, Exchange
from tasks_server.api.routes import Route, Success
from tasks_server.api.states import state_word
from tasks_server.api.wire import encode
from tasks_server.service.explain import ExplainService, Explanation


class GateView(msgspec.Struct, rename="camel"):
    """Something that a task must pass before it runs. `until`: when it opens (ms since the epoch), as far as known."""

    gate: str
    closed: bool
    text: str
    until: int | None
    facts: dict[str, Any]


class EnginesView(msgspec.Struct, rename="camel"):
    """How many engines take tasks, and when one was heard of last (null: never)."""

    alive: int
    last_seen_at: int | None


class ExplanationView(msgspec.Struct, rename="camel"):
    """Why a task has not run. The gates are in the order in which they hold it: the first closed one is the answer.
    `runnable`: none is closed. `estimateAt`: the earliest instant at which it can run; null when a closed gate has no
    known end.
    """

    id: str
    state: str
    phase: str
    summary: str
    runnable: bool
    gates: list[GateView]
    estimate_at: int | None
    engines: EnginesView


def explanation_view(explained: Explanation) -> ExplanationView:
    task = explained.task
    return ExplanationView(
        id=task.id,
        state=state_word(task),
        phase=task.state.value,
        summary=explained.summary,
        runnable=explained.runnable,
        gates=[GateView(gate.gate, gate.closed, gate.text, gate.until, gate.facts) for gate in explained.gates],
        estimate_at=explained.estimate_at,
        engines=EnginesView(explained.engines_alive, explained.engine_seen_at),
    )


class ExplainRoutes:
    """The handler, and the table of it."""

    def __init__(self, explain: ExplainService) -> None:
        self._explain = explain

    def table(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/v1/queues/{id}/explain",
                self.explain,
                "Explain why a task has not run",
                "owner",
                [Success(200, ExplanationView, "What holds the task, or that nothing does")],
                ["task_not_found"],
            )
        ]

    async def explain(self, exchange: Exchange) -> Answer:
        explained = await self._explain.explain(exchange.caller.scope, exchange.parameter("id"))
        return Answer(200, encode(explanation_view(explained)))
