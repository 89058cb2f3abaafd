"""A caller that calls nobody: it keeps what it was asked to send, and a test says how each call ends. And the same
for handlers.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from tasks_server.domain.attempt import Outcome, OutcomeKind
from tasks_server.domain.engines import HandlersTrouble
from tasks_server.engine.calls import Call, Done
from tasks_server.engine.runs import Known, Run
from tasks_server.telemetry.events import Level

OK = Outcome(OutcomeKind.SUCCESS, status_code=200, response=b"fine")
DOWN = Outcome(OutcomeKind.HTTP_ERROR, status_code=503, error="the target answered 503")


class ScriptedCaller:
    """Implements `Caller`. `sent` maps tokens to calls that have not ended."""

    def __init__(self) -> None:
        self.sent: dict[int, Call] = {}
        self.aborted: list[int] = []
        self.stopped = False
        self._on_done: Callable[[list[Done]], None] | None = None

    def start(self, on_done: Callable[[list[Done]], None]) -> None:
        self._on_done = on_done

    def send(self, calls: Sequence[Call]) -> None:
        self.sent.update({call.token: call for call in calls})

    def abort(self, tokens: Collection[int]) -> None:
        for token in tokens:
            if self.sent.pop(token, None) is not None:
                self.aborted.append(token)

    def stop(self) -> None:
        self.stopped = True

    def end(self, token: int, outcome: Outcome = OK, started_at: int = 0, ended_at: int = 0) -> None:
        """Ends one call."""
        assert self._on_done is not None
        call = self.sent.pop(token)
        self._on_done([Done(token, outcome, started_at or call.start_at, ended_at or call.start_at)])

    def end_all(self, outcome: Outcome = OK) -> None:
        """Ends every call that is in flight."""
        for token in list(self.sent):
            self.end(token, outcome)

    def headers(self, token: int) -> dict[str, str]:
        return dict(self.sent[token].headers)


class ScriptedHandlers:
    """Implements `Handlers`. `sent` maps tokens to runs that have not ended."""

    def __init__(self, known: Mapping[str, Known], runs_max: int | None = None) -> None:
        self.sent: dict[int, Run] = {}
        self.aborted: list[int] = []
        self.stopped = False
        self._known = known
        self._runs_max = runs_max
        self._on_done: Callable[[list[Done]], None] | None = None
        self._on_change: Callable[[], None] | None = None

    def prepare(self) -> None: ...

    def start(
        self, on_done: Callable[[list[Done]], None], on_change: Callable[[], None], on_noted: object = None
    ) -> None:
        self._on_done, self._on_change = on_done, on_change

    def known(self) -> Mapping[str, Known]:
        return self._known

    def learn(self, known: Mapping[str, Known]) -> None:
        """Other handlers can be run from now on."""
        self._known = known
        assert self._on_change is not None
        self._on_change()

    def trouble(self) -> HandlersTrouble | None:
        return None

    def runs_max(self) -> int | None:
        return self._runs_max

    def send(self, runs: Sequence[Run]) -> None:
        self.sent.update({run.token: run for run in runs})

    def abort(self, tokens: Collection[int]) -> None:
        self.aborted += [token for token in tokens if self.sent.pop(token, None) is not None]

    def relog(self, level: Level) -> None: ...

    def stop(self) -> None:
        self.stopped = True
        for token in list(self.sent):
            self.end(token, Outcome(OutcomeKind.INTERRUPTED, error="cut short"))

    def end(self, token: int, outcome: Outcome = OK) -> None:
        """Ends one run."""
        assert self._on_done is not None
        run = self.sent.pop(token)
        self._on_done([Done(token, outcome, run.start_at, run.start_at)])
