"""Runs claims: builds their calls and runs of handlers, follows them, turns their endings into reports."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from tasks_server.clock import Clock
from tasks_server.domain import lifecycle, waits
from tasks_server.domain.attempt import NO_ANSWER, Outcome, OutcomeKind
from tasks_server.domain.errors import StoreError
from tasks_server.domain.forms import Newer, decode_spec
from tasks_server.domain.notes import Notes
from tasks_server.domain.opening import undecodable_spec
from tasks_server.domain.request import HandlerCall, HttpRequest, TaskConfig, TaskSpec
from tasks_server.domain.retry import next_retry_at
from tasks_server.domain.signing import message_id
from tasks_server.engine.calls import SET_BACK, Call, Caller, Done
from tasks_server.engine.handlers import builtin
from tasks_server.engine.inflight import InFlight, Running
from tasks_server.engine.notebook import Notebook
from tasks_server.engine.reports import report_of
from tasks_server.engine.runs import Handlers, Known, Run
from tasks_server.engine.settler import Settler
from tasks_server.engine.signatures import Signatures
from tasks_server.store.ports import Claim
from tasks_server.telemetry import Telemetry
from tasks_server.telemetry.events import AttemptEnded, PayloadLogged, StoredUnreadable

_INTERRUPTED: Final = Outcome(OutcomeKind.INTERRUPTED, error="cut short by a shutdown of the server")
_UNSIGNED: Final = Outcome(OutcomeKind.INTERRUPTED, error="given back: the store did not tell how to sign it")
_NO_REQUEST: Final = Outcome(OutcomeKind.UNSENDABLE, status_code=NO_ANSWER, error="the stored task has no request")
_NO_HANDLER: Final = Outcome(OutcomeKind.INTERRUPTED, error="given back: no process here runs this handler now")
_NEWER: Final = Outcome(
    OutcomeKind.INTERRUPTED, error="given back: a newer version of this software stored it; update this engine"
)
_HOLD_SECONDS: Final = 5.0
_EXPIRED: Final = Outcome(OutcomeKind.EXPIRED, status_code=408, error=lifecycle.EXPIRED_ERROR)


def _nothing_to_do() -> None:
    """Stands in for whom nobody wants to tell."""


def _nobody_told(_: str, __: object) -> None:
    """Stands in for whom nobody wants to tell of a shortage or a failure."""


class _Begun(msgspec.Struct):
    """What one batch of claims came to."""

    calls: list[Call] = []
    runs: list[Run] = []
    done: list[Done] = []
    """What is over already."""


class Executor:
    """Between claims and those who work on them: the caller, and whoever runs handlers. Lives in one event loop; they
    report from threads of their own.
    """

    def __init__(
        self,
        caller: Caller,
        handlers: Handlers | None,
        settler: Settler,
        inflight: InFlight,
        clock: Clock,
        telemetry: Telemetry,
        signatures: Signatures,
        *,
        jitter: Callable[[], float],
        builtin: Known,
        on_free: Callable[[], None],
        on_shortage: Callable[[str, str], None] = _nobody_told,
        notebook: Notebook | None = None,
        on_failure: Callable[[str, Outcome], None] = _nobody_told,
    ) -> None:
        self._caller = caller
        self._handlers = handlers
        self._settler = settler
        self._inflight = inflight
        self._clock = clock
        self._telemetry = telemetry
        self._signatures = signatures
        self._jitter = jitter
        self._builtin = builtin
        self._on_free = on_free
        self._on_shortage = on_shortage
        self._notebook = notebook
        self._on_failure = on_failure
        self._tokens = itertools.count(1)
        self._nothing = asyncio.Event()
        self._nothing.set()

    def start(self, on_handlers: Callable[[], None] = _nothing_to_do) -> None:
        """Begins to listen to those who work, in the event loop that runs now. `on_handlers` is called there when
        other handlers can be run than before.
        """
        loop = asyncio.get_running_loop()

        def hand_over(done: list[Done]) -> None:
            loop.call_soon_threadsafe(self.ended, done)

        def changed() -> None:
            loop.call_soon_threadsafe(on_handlers)

        def noted(several: dict[int, Notes]) -> None:
            loop.call_soon_threadsafe(self._note, several)

        self._caller.start(hand_over)
        if self._handlers is not None:
            self._handlers.start(hand_over, changed, noted)

    async def begin(self, claims: Sequence[Claim]) -> None:
        """Sends what these claims ask for, each not before its time. Raises `StoreError` when it cannot be found out
        how to sign them; then they are given back.
        """
        try:
            await self._signatures.refresh({claim.owner for claim in claims})
        except StoreError:
            now = self._clock.now()
            for claim in claims:
                self._report(claim, TaskConfig(), _UNSIGNED, now, now)
            raise
        now = self._clock.now()
        begun = _Begun()
        for claim in claims:
            self._prepare(claim, now, begun)
        if len(self._inflight):
            self._nothing.clear()
        if begun.calls:
            self._caller.send(begun.calls)
        if begun.runs and self._handlers is not None:
            self._handlers.send(begun.runs)
        if begun.done:
            self.ended(begun.done)

    def ended(self, batch: Sequence[Done]) -> None:
        """Turns ended calls into reports."""
        for done in batch:
            running = self._inflight.take(done.token)
            if running is not None:
                if done.outcome.lacking is not None:
                    self._on_shortage(done.outcome.lacking, running.claim.target)
                ended = done.started_at, done.ended_at
                self._report(running.claim, running.config, done.outcome, *ended, done.notes)
        self._freed()

    def _note(self, several: dict[int, Notes]) -> None:
        """Runs have noted this so far."""
        for token, notes in several.items():
            running = self._inflight.find(token)
            if running is not None and self._notebook is not None:
                claim = running.claim
                self._notebook.add(claim.ref, claim.lease, claim.id, claim.attempt, notes)

    def drop(self, running: Iterable[Running]) -> None:
        """Drops calls whose lease is gone: nothing is reported of them."""
        self._abort([one.token for one in running if self._inflight.take(one.token) is not None])
        self._freed()

    def interrupt(self) -> None:
        """Drops all calls and gives their tasks back uncounted."""
        every = self._inflight.all()
        self._abort([running.token for running in every])
        now = self._clock.now()
        for running in every:
            self._inflight.take(running.token)
            self._report(running.claim, running.config, _INTERRUPTED, min(now, running.claim.due_at), now)
        self._freed()

    async def finished(self) -> None:
        """Returns once nothing is in flight."""
        await self._nothing.wait()

    def _freed(self) -> None:
        if not len(self._inflight):
            self._nothing.set()
        self._on_free()

    def _abort(self, tokens: Sequence[int]) -> None:
        self._caller.abort(tokens)
        if self._handlers is not None:
            self._handlers.abort(tokens)

    def _prepare(self, claim: Claim, now: int, begun: _Begun) -> None:
        """Adds what a claim asks for to what is begun. When there is nothing to do, that is reported at once."""
        try:
            spec = decode_spec(claim.spec)
        except Newer:
            self._hold(claim, now)
            return
        except msgspec.DecodeError as error:
            told = claim.unreadable or undecodable_spec(error)
            self._telemetry.emit(StoredUnreadable(f"run task {claim.id}", told))
            outcome = Outcome(OutcomeKind.UNSENDABLE, status_code=NO_ANSWER, error=told)
            self._report(claim, TaskConfig(), outcome, now, now)
            return
        config = spec.config
        start_at = waits.starts_at(claim.due_at, claim.remaining_ms, now)
        if start_at is None:
            self._report(claim, config, SET_BACK, now, now)
        elif claim.expire_at is not None and start_at >= claim.expire_at:
            self._report(claim, config, _EXPIRED, start_at, start_at)
        elif spec.handler is not None:
            self._prepare_handler(claim, spec, spec.handler, start_at, begun)
        elif spec.request is not None:
            begun.calls.append(self._call(claim, spec, spec.request, start_at))
        else:
            self._report(claim, config, _NO_REQUEST, now, now)

    def _hold(self, claim: Claim, now: int) -> None:
        """Gives the task back after a while, so that another engine may have it, and this one does not claim it again
        and again meanwhile.
        """
        token = self._follow(claim, TaskConfig(), now).token
        asyncio.get_running_loop().call_later(_HOLD_SECONDS, self.ended, [Done(token, _NEWER, now, now)])

    def _call(self, claim: Claim, spec: TaskSpec, request: HttpRequest, start_at: int) -> Call:
        running = self._follow(claim, spec.config, start_at)
        return Call(
            running.token,
            request,
            spec.config,
            headers_of(claim, spec, start_at),
            start_at,
            running.deadline_at - start_at,
            self._signatures.keys(claim.owner, start_at),
            message_id(claim.id, claim.repeats),
            spec.special,
        )

    def _follow(self, claim: Claim, config: TaskConfig, start_at: int) -> Running:
        """The claim is in flight from now on."""
        timeout_ms = config.timeout_ms
        if config.timeout_at is not None and claim.attempt == 1:
            timeout_ms = max(1, config.timeout_at - start_at)
        running = Running(next(self._tokens), claim, config, start_at + timeout_ms)
        self._inflight.add(running)
        return running

    def _prepare_handler(
        self, claim: Claim, spec: TaskSpec, handler: HandlerCall, start_at: int, begun: _Begun
    ) -> None:
        if claim.target in builtin.BUILTIN_TARGETS:
            spec.config = self._builtin.applied_to(spec.config, handler)
        if handler.name == builtin.DEFAULT:
            self._log_payload(claim, spec.config, handler, start_at, begun)
            return
        if handler.name == builtin.CURL:
            asked = builtin.curl_request(handler.payload)
            if isinstance(asked, Outcome):
                self._report(claim, spec.config, asked, start_at, start_at)
            else:
                begun.calls.append(self._call(claim, spec, asked, start_at))
            return
        known = self._handlers.known().get(claim.target) if self._handlers is not None else None
        if known is None:
            self._report(claim, spec.config, _NO_HANDLER, start_at, start_at)
            return
        config = known.applied_to(spec.config, handler)
        running = self._follow(claim, config, start_at)
        begun.runs.append(
            Run(
                running.token,
                handler.name,
                handler.payload,
                claim.id,
                claim.attempt,
                claim.failures,
                claim.created_at,
                claim.due_at,
                start_at,
                running.deadline_at - start_at,
                config.trace_response_data,
                spec.metadata,
            )
        )

    def _log_payload(
        self, claim: Claim, config: TaskConfig, handler: HandlerCall, start_at: int, begun: _Begun
    ) -> None:
        """Runs the handler `default`, here and now or when its time has come."""
        token = self._follow(claim, config, start_at).token
        event = PayloadLogged(task=claim.id, attempt=claim.attempt, payload=builtin.shown_payload(handler.payload))
        done = Done(token, builtin.LOGGED, start_at, start_at)
        wait_ms = start_at - self._clock.now()
        if wait_ms <= 0:
            self._telemetry.emit(event)
            begun.done.append(done)
            return

        def run() -> None:
            if not self._inflight.has(token):
                return
            now = self._clock.now()
            if waits.is_set_back(start_at, now):
                self.ended([Done(token, SET_BACK, now, now)])
            elif now < start_at:
                loop.call_later((start_at - now + 1) / 1_000, run)
            else:
                self._telemetry.emit(event)
                self.ended([done])

        loop = asyncio.get_running_loop()
        loop.call_later((wait_ms + 1) / 1_000, run)

    def _report(
        self,
        claim: Claim,
        config: TaskConfig,
        outcome: Outcome,
        started_at: int,
        ended_at: int,
        notes: Notes | None = None,
    ) -> None:
        self._settler.add(report_of(claim, config, outcome, started_at, ended_at, self._jitter(), notes))
        if outcome.kind is not OutcomeKind.SUCCESS:
            self._on_failure(claim.target, outcome)
        if self._telemetry.debug:
            self._telemetry.emit(
                AttemptEnded(
                    task=claim.id,
                    attempt=claim.attempt,
                    target=claim.target,
                    outcome=outcome.kind,
                    status=outcome.status_code,
                    ms=ended_at - started_at,
                )
            )


def headers_of(claim: Claim, spec: TaskSpec, start_at: int) -> list[tuple[str, str]]:
    """The headers by which the target can tell tasks, attempts and repeats apart (contract section 5)."""
    headers = [("X-Tasks-Queue-Id", claim.id), ("X-Tasks-Attempt", str(claim.attempt))]
    if claim.failures:
        policy = spec.config.retry_policy()
        headers.append(("X-Tasks-Retry-Count", str(claim.failures)))
        headers.append(("X-Tasks-Retry-Limit", str(policy.retries_max)))
        if claim.failures < policy.retries_max:
            next_at = next_retry_at(policy, claim.failures + 1, start_at, 0.0)
            headers.append(("X-Tasks-Estimate-Next-Retry-At", str(next_at)))
    if claim.repeats:
        headers.append(("X-Tasks-Repeat-Count", str(claim.repeats)))
    if spec.schedule is not None:
        headers.append(("X-Tasks-Schedule-Id", spec.schedule))
        headers.append(("X-Tasks-Fire-At", str(spec.fire_at)))
    own = spec.request.headers if spec.request is not None else None
    if own is None or not any(name.lower() == "idempotency-key" for name in own):
        # A repeat is another message than the run before it: a target that knows the key would pass it over.
        headers.append(("Idempotency-Key", message_id(claim.id, claim.repeats)))
    return headers
